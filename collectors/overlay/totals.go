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

func (t totals) add(o totals) {
	for depth, n := range o {
		sum := t[depth]
		sum.Add(&n)
		t[depth] = sum
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
			out[id] = n.bytes()
		}
	})
	return out, true, nil
}

// owner returns who a row counts for; nil when nobody, any more or yet.
func owner(t *identity.Table, k bpf.OverlayKey) *identity.Container {
	return t.Owner(identity.NSKey{Inum: k.Who.PIDNS, Gen: k.Who.PIDNSStart}, k.Who.UserNS, k.Who.UserNSID)
}

// totals adds the kernel's rows to what was taken from it, by container. The
// table's lock is held.
func (c *Collector) totals(t *identity.Table, rows map[bpf.OverlayKey]bpf.Overlay) map[string]totals {
	all := map[string]totals{}
	of := func(id string) totals {
		if all[id] == nil {
			all[id] = totals{}
		}
		return all[id]
	}
	for id, n := range c.taken {
		if t.Container(id) == nil {
			delete(c.taken, id)
			continue
		}
		of(id).add(n)
	}
	for k, n := range rows {
		if x := owner(t, k); x != nil {
			of(x.ID).add(totals{k.Depth: n})
		}
	}
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
// stays with their container.
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
	owners, users := map[bpf.OverlayKey]string{}, map[string]bool{}
	for id := range c.taken {
		users[id] = true
	}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for k := range rows {
			if x := owner(t, k); x != nil {
				owners[k], users[x.ID] = x.ID, true
			}
		}
	})
	c.users = users
	for k, n := range rows {
		r, known := c.rests[k]
		if so := calls(&n); !known || r.calls != so {
			c.rests[k] = rest{so, now}
			continue
		}
		id, wait := owners[k], patience
		if id == "" {
			wait = goneAfter
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
	if c.taken[id] == nil {
		c.taken[id] = totals{}
	}
	c.taken[id].add(totals{k.Depth: n})
	return nil
}

// calls grows with every call that a row counts.
func calls(n *bpf.Overlay) uint64 {
	return n.Reads.Calls() + n.Writes.Calls() + n.CopyUps.Calls() + n.SpliceReads + n.SpliceWrites + n.CopyRanges +
		n.Opens + n.Mmaps + n.Creates + n.Removes
}
