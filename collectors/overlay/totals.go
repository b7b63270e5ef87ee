package overlay

import (
	"fmt"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// totals are one container's numbers, by depth. They must not be added up: a read
// of an overlay upon an overlay is one at each.
type totals map[uint16]bpf.Overlay

func (t *totals) add(o totals) {
	if *t == nil {
		*t = totals{}
	}
	for depth, n := range o {
		sum := (*t)[depth]
		sum.Add(&n)
		(*t)[depth] = sum
	}
}

// Bytes went through the layered file system. Where an overlay lies upon an
// overlay they are those of the depth with the most: depths do not add up.
type Bytes struct{ Read, Written, CopiedUp uint64 }

func (t totals) bytes() (b Bytes) {
	for _, n := range t {
		b.Read = max(b.Read, n.ReadBytes+n.SpliceReadBytes)
		b.Written = max(b.Written, n.WriteBytes+n.SpliceWriteBytes+n.CopyRangeBytes)
		b.CopiedUp = max(b.CopiedUp, n.CopyUpBytes)
	}
	return b
}

// Totals returns what each live container has read and written since the agent
// runs, by its id; a container that is missing has done neither. false: it is not
// counted here, or not yet. Safe for concurrent use.
func (c *Collector) Totals() (map[string]Bytes, bool, error) {
	if !c.o.Source.Attached() {
		return nil, false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, err := c.o.Source.Rows()
	if err != nil {
		return nil, false, fmt.Errorf("read what overlays did: %w", err)
	}
	out := map[string]Bytes{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for id, n := range c.totals(t, rows) {
			if t.Container(id) != nil {
				out[id] = n.bytes()
			}
		}
	})
	return out, true, nil
}

// totals adds the kernel's rows to what was taken from it, by container, also of
// those that are gone, while anything is left of them. The table's lock is held.
func (c *Collector) totals(t *identity.Table, rows map[bpf.OverlayKey]bpf.Overlay) map[string]totals {
	all, owners := map[string]totals{}, map[bpf.OverlayKey]string{}
	add := func(id string, n totals) {
		sum := all[id]
		sum.add(n)
		all[id] = sum
	}
	for id, n := range c.taken {
		add(id, n)
	}
	for k, n := range rows {
		id := t.Counted(identity.NSKey{Inum: k.Who.PIDNS, Gen: k.Who.PIDNSStart}, k.Who.UserNS, k.Who.UserNSID, c.owners[k])
		if id != "" {
			owners[k] = id
			add(id, totals{k.Depth: n})
		}
	}
	c.owners = owners
	return all
}

// rest is since when a row has been the same.
type rest struct {
	calls uint64
	since time.Time
}

const (
	// restAfter is how long a row may rest in the kernel: its overlay may be gone.
	restAfter = time.Minute
	// goneAfter is how long a row may belong to nobody: its first process may
	// not have been told yet.
	goneAfter = 10 * time.Second
)

// sweep takes the rows that rest, sooner when the map fills up. What they held
// stays with their container, or with the remainder that it counts in.
func (c *Collector) sweep(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, err := c.o.Source.Rows()
	if err != nil {
		return err
	}
	patience := restAfter
	if len(rows) > c.o.Source.Capacity()/2 {
		patience = 0
	}
	alive := map[string]bool{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for id := range c.fold(t, rows) {
			if t.Container(id) != nil {
				alive[id] = true
			}
		}
	})
	c.users = alive
	for k, n := range rows {
		r, known := c.rests[k]
		if so := calls(&n); !known || r.calls != so {
			c.rests[k] = rest{so, now}
			continue
		}
		id, wait := c.owners[k], patience
		if !alive[id] {
			id, wait = "", goneAfter
		}
		if now.Sub(r.since) >= wait {
			if err := c.take(k, id); err != nil {
				return err
			}
		}
	}
	for k := range c.rests {
		if _, ok := rows[k]; !ok {
			delete(c.rests, k)
		}
	}
	return nil
}

// take moves a row from the kernel to the container, if there is one.
func (c *Collector) take(k bpf.OverlayKey, id string) error {
	n, err := c.o.Source.Take(k)
	if err != nil {
		return err
	}
	delete(c.rests, k)
	if id == "" {
		return nil
	}
	sum := c.taken[id]
	sum.add(totals{k.Depth: n})
	c.taken[id] = sum
	return nil
}

// calls grows with every call that a row counts.
func calls(n *bpf.Overlay) uint64 {
	return n.Reads.Calls() + n.Writes.Calls() + n.CopyUps.Calls() + n.SpliceReads + n.SpliceWrites + n.CopyRanges +
		n.Opens + n.Mmaps + n.Faults + n.Creates + n.Removes
}
