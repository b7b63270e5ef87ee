package denials

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// record is of a kind of refusal, without a last one.
func record(x *identity.Container, k bpf.DenialKey, now time.Time) *identity.DenialRecord {
	r := &identity.DenialRecord{
		Op: k.Op.String(), Error: errnoText(k.Errno), Cause: k.Cause.String(), Container: x.ID, First: now,
	}
	switch k.Cause {
	case bpf.CauseCapability:
		r.Capability = capabilityText(k.Cause.Of(k.Op, k.Detail))
	case bpf.CauseUCount:
		r.Limit = limitText(k.Cause.Of(k.Op, k.Detail))
	}
	return r
}

// last writes down the last one.
func (c *Collector) last(t *identity.Table, x *identity.Container, r *identity.DenialRecord, d bpf.Denial) {
	r.Time, r.Comm = c.o.Clock.At(d.Time), identity.Valid(d.Comm)
	r.PID, r.Start, r.StartTime = identity.HostPID(d.PID), d.Start, c.o.Clock.At(d.Start)
	r.UID, r.GID = identity.HostUID(d.UID), identity.HostGID(d.GID)
	r.TargetLevel, r.Target, r.IDs = int(d.TargetLevel), d.Target, d.IDs
	r.Syscall = syscallText(d.Syscall)
	if r.Cause == bpf.CauseServer.String() {
		r.FileSystem, r.Target = fileSystemText(d.Target), 0
	}
	r.Device, r.Inode = "", d.Inode
	if d.Inode != 0 {
		r.Device = fmt.Sprintf("%d:%d", d.Dev>>20, d.Dev&(1<<20-1))
	}
	// Of the process as it was then: since, it may have gone on into another.
	r.UserNS, r.UserNSInum = identity.NSKey{}, d.UserNS
	if p := t.Process(r.PID); p != nil && p.Key.Start == d.Start {
		r.UserNS = p.Record(c.o.Clock).UserNS
	}
	if r.UserNS.Inum != d.UserNS {
		r.UserNS = x.Record(c.o.Clock).UserNS
	}
	if r.UserNS.Inum != d.UserNS {
		r.UserNS = identity.NSKey{}
	}
}

// Records returns every kind of refusal that containers met, of those that live
// and of those that are gone.
func (c *Collector) Records() []identity.DenialRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []identity.DenialRecord{}
	for _, box := range c.containers {
		for _, r := range box.kinds {
			out = append(out, *r)
		}
	}
	return out
}

// Of returns the kinds of refusals that a process met, with its own last one of each
// and how many it met. The kernel remembers as many processes as it has room for, so
// a kind of which this one was the last is found in any case, and counts all.
func (c *Collector) Of(pid identity.HostPID) ([]identity.DenialRecord, error) {
	rows, err := c.o.Source.Of(uint32(pid))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	type part struct {
		container, op, errno, cause, detail string
		start                               uint64
	}
	partOf := func(r identity.DenialRecord) part {
		return part{r.Container, r.Op, r.Error, r.Cause, r.Capability + r.Limit, r.Start}
	}
	own := map[part]identity.DenialRecord{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for k, d := range rows {
			pidns := identity.NSKey{Inum: k.Who.PIDNS, Gen: k.Who.PIDNSStart}
			x := t.Owner(pidns, k.Who.UserNS, k.Who.UserNSID)
			if x == nil {
				x = t.Gone(pidns)
			}
			if x == nil || d.Time == 0 {
				continue
			}
			r := record(x, k.DenialKey, c.o.Clock.At(d.Time))
			if r.Count = d.Count; d.Count > 1 {
				r.First = c.o.Clock.At(d.Start) // counted since then
			}
			c.last(t, x, r, d)
			own[partOf(*r)] = *r
		}
	})
	for _, box := range c.containers {
		for _, r := range box.kinds {
			if _, known := own[partOf(*r)]; !known && r.PID == pid {
				own[partOf(*r)] = *r
			}
		}
	}
	return slices.Collect(maps.Values(own)), nil
}

func errnoText(n uint16) string {
	if s := unix.ErrnoName(unix.Errno(n)); s != "" {
		return s
	}
	return fmt.Sprintf("errno %d", n)
}
