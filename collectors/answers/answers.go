// Package answers puts together what a person asks: who is this pid, whose is
// this uid, what runs in this sandbox, how do the ids map.
//
// What enters: questions. What leaves: answers of package identity, as fresh
// as the kernel for the living, from the history for the dead. It reads /proc
// for host processes, which the table does not hold, has layers look at upper
// directories, and changes nothing.
package answers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/procfs"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/layers"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// ErrNotFound means that nobody with that id lives, or is remembered.
var ErrNotFound = errors.New("not found")

// History remembers; a nil History remembers nothing.
type History interface {
	Processes(pid identity.HostPID, limit int) ([]identity.ProcessRecord, error)
	InnerProcesses(in identity.ContainerRecord, pid identity.PID, limit int) ([]identity.ProcessRecord, error)
	Container(id string) (identity.ContainerRecord, bool)
	UserNS(key identity.NSKey) (identity.UserNSRecord, bool)
	Containers(from, to time.Time) ([]identity.ContainerRecord, error)
	OOMs(since time.Time, f func(identity.OOMRecord)) error
}

// Pods are those that have, or had, ranges of ids, those that came last first.
type Pods interface {
	Pods() ([]identity.PodRecord, error)
}

// Names are what Kubernetes calls pods. A call must not block.
type Names interface {
	Pod(uid, container string) (identity.Pod, bool)
}

// Answers is safe for concurrent use.
type Answers struct {
	Tracker *tracker.Tracker
	History History
	Kubelet Pods  // nil: knows none
	Names   Names // nil: nobody knows names
	// Refusals may be nil: nobody follows them.
	Refusals Refusals
	Logs     Logs // nil: nobody keeps them
	Node     identity.Node
	Clock    identity.Clock
	Proc     string   // where procfs is mounted
	Numbers  *Numbers // nil: nothing is counted

	looker layers.Looker
}

// lookup finds records in the table first, then in the history. The tracker's
// lock is held while it is used.
type lookup struct {
	a     *Answers
	table *identity.Table
}

func (l lookup) Container(id string) (identity.ContainerRecord, bool) {
	if c := l.table.Container(id); c != nil {
		return c.Record(l.a.Clock), true
	}
	if l.a.History != nil {
		return l.a.History.Container(id)
	}
	return identity.ContainerRecord{}, false
}

func (l lookup) UserNS(key identity.NSKey) (identity.UserNSRecord, bool) {
	if u := l.table.UserNS(key); u != nil {
		return u.Record(l.a.Clock), true
	}
	if l.a.History != nil {
		return l.a.History.UserNS(key)
	}
	return identity.UserNSRecord{}, false
}

func (a *Answers) node(t *identity.Table) identity.Node {
	n := a.Node
	if pidns, userns := t.Initial(); pidns != 0 {
		n.PIDNS, n.UserNS = pidns, userns
	}
	return n
}

// PID answers who has, or last had, a host pid.
func (a *Answers) PID(ctx context.Context, pid identity.HostPID) (identity.Identity, error) {
	var found *identity.Identity
	err := a.Tracker.Look(ctx, pid, func(t *identity.Table, p *identity.Process) {
		if p != nil {
			id := identity.Describe(p.Record(a.Clock), a.node(t), lookup{a, t})
			found = &id
		}
	})
	if err != nil {
		return identity.Identity{}, fmt.Errorf("look at pid %d: %w", pid, err)
	}
	if found != nil {
		return *found, nil
	}
	now, exists := a.hostProcess(pid)
	// /proc shows a process as living until it is a zombie, and nothing nested
	// about it from then on; the kernel has told its exit before either. Asked
	// after /proc, so that a pid that has passed to the host is the host's.
	dying := exists && a.Tracker.Nested(pid)
	if exists && !dying && now.State == "live" {
		return now, nil
	}
	if a.History != nil {
		past, err := a.History.Processes(pid, 1)
		if err != nil {
			return identity.Identity{}, err
		}
		if len(past) > 0 && (!exists || sameStart(past[0].StartTime, now.Host.StartTime)) {
			return a.describe(past[0]), nil
		}
	}
	if dying {
		return identity.Identity{}, fmt.Errorf("pid %d: %w: it is dead and not reaped yet, and its containers are not remembered", pid, ErrNotFound)
	}
	if exists {
		return now, nil
	}
	return identity.Identity{}, fmt.Errorf("pid %d: %w: no such process now, and none is remembered", pid, ErrNotFound)
}

// sameStart compares a start time of the kernel's with one of /proc, which counts
// in ticks of 10 ms and from a boot time that is read at another moment.
func sameStart(exact, ticks time.Time) bool {
	d := exact.Sub(ticks)
	return d > -50*time.Millisecond && d < 50*time.Millisecond
}

func (a *Answers) describe(p identity.ProcessRecord) (id identity.Identity) {
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		id = identity.Describe(p, a.node(t), lookup{a, t})
	})
	return id
}

// hostProcess describes a process that is not nested: its chain is the node.
func (a *Answers) hostProcess(pid identity.HostPID) (identity.Identity, bool) {
	fs, err := procfs.NewFS(a.Proc)
	if err != nil {
		return identity.Identity{}, false
	}
	p, err := fs.Proc(int(pid))
	if err != nil {
		return identity.Identity{}, false
	}
	status, err := p.NewStatus()
	if err != nil || status.TGID != int(pid) {
		return identity.Identity{}, false
	}
	stat, err := p.Stat()
	if err != nil {
		return identity.Identity{}, false
	}
	argv, _ := p.CmdLine() // empty for kernel threads
	// Field 22 of /proc/PID/stat is in ticks of 1/100 s since boot (proc(5)).
	start := a.Clock.At(stat.Starttime * uint64(10*time.Millisecond))
	now := time.Now().UTC()
	rec := identity.ProcessRecord{
		PID: pid, StartTime: start, PPID: identity.HostPID(stat.PPID),
		UID: identity.HostUID(status.UIDs[1]), GID: identity.HostGID(status.GIDs[1]),
		RUID: identity.HostUID(status.UIDs[0]), RGID: identity.HostGID(status.GIDs[0]),
		LoginUID: identity.NoID, Threads: uint32(stat.NumThreads), Comm: identity.Valid(stat.Comm),
		First: start, Last: now, Exited: stat.State == "Z",
	}
	for _, s := range argv {
		rec.Argv = append(rec.Argv, identity.Valid(s))
	}
	if groups, err := p.Cgroups(); err == nil {
		for _, g := range groups {
			if g.HierarchyID == 0 {
				rec.Cgroup = identity.Valid(g.Path)
			}
		}
	}
	return a.describe(rec), true
}

// InnerPID answers who has, or last had, a pid inside a container.
func (a *Answers) InnerPID(ctx context.Context, chain string, pid identity.PID) (identity.Identity, error) {
	if err := a.Tracker.Sync(ctx); err != nil {
		return identity.Identity{}, err
	}
	c, err := a.Select(chain)
	if err != nil {
		return identity.Identity{}, err
	}
	var host identity.HostPID
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		for _, p := range t.Processes() {
			if inner, ok := pidIn(p, c); ok && inner == pid {
				host = p.Key.PID
				return
			}
		}
	})
	if host != 0 {
		return a.PID(ctx, host)
	}
	if a.History != nil {
		past, err := a.History.InnerProcesses(c, pid, 1)
		if err != nil {
			return identity.Identity{}, err
		}
		if len(past) > 0 {
			return a.describe(past[0]), nil
		}
	}
	return identity.Identity{}, fmt.Errorf("pid %d in container %s: %w", pid, c.ID, ErrNotFound)
}

// pidIn returns a process's number in the pid namespace of a container.
func pidIn(p *identity.Process, c identity.ContainerRecord) (identity.PID, bool) {
	if c.PIDLevel == 0 {
		for x := p.Container; x != nil; x = x.Parent {
			if x.ID == c.ID {
				return identity.PID(p.Key.PID), true
			}
		}
		return 0, false
	}
	if c.PIDLevel > len(p.PIDs) || p.Home.PIDNSs[c.PIDLevel-1] != c.PIDNS {
		return 0, false
	}
	return p.PIDs[c.PIDLevel-1], true
}

// Select finds the container a person names, alive or remembered.
func (a *Answers) Select(chain string) (identity.ContainerRecord, error) {
	c, err := identity.Select(chain, a.liveContainers())
	if err == nil || !errors.Is(err, identity.ErrNoContainer) || a.History == nil {
		return c, err
	}
	past, herr := a.History.Containers(time.Time{}, time.Now())
	if herr != nil {
		return c, herr
	}
	return identity.Select(chain, past)
}

func (a *Answers) liveContainers() (all []identity.ContainerRecord) {
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		for _, c := range t.Containers() {
			all = append(all, c.Record(a.Clock))
		}
	})
	return all
}

// PS hands every live nested process to yield, by host pid; with a chain, those
// of that container and of those inside it. The table is fresh when it begins.
func (a *Answers) PS(ctx context.Context, chain string, yield func(identity.Identity) error) error {
	if err := a.Tracker.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	only := ""
	if chain != "" {
		c, err := a.Select(chain)
		if err != nil {
			return err
		}
		only = c.ID
	}
	var pids []identity.HostPID
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		for _, p := range t.Processes() {
			if only == "" || within(p.Container, only) {
				pids = append(pids, p.Key.PID)
			}
		}
	})
	// In pieces, so that neither the lock nor the memory is held for all.
	for part := range slices.Chunk(pids, 128) {
		var ids []identity.Identity
		a.Tracker.View(func(t *identity.Table, _ map[string]int) {
			for _, pid := range part {
				if p := t.Process(pid); p != nil {
					ids = append(ids, identity.Describe(p.Record(a.Clock), a.node(t), lookup{a, t}))
				}
			}
		})
		for _, id := range ids {
			if err := yield(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func within(c *identity.Container, id string) bool {
	for ; c != nil; c = c.Parent {
		if c.ID == id {
			return true
		}
	}
	return false
}
