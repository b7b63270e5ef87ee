package denials

import (
	"slices"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Sync takes over what the kernel's rows tell by now. Run does so periodically;
// an answer that should be fresh calls it first.
func (c *Collector) Sync(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, err := c.o.Source.Rows()
	if err != nil {
		return err
	}
	full := len(rows) > c.o.Source.Capacity()/2
	var rested []bpf.DenialKey
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for k, d := range rows {
			if c.merge(t, k, d, now, full) {
				rested = append(rested, k)
			}
		}
		c.retire(t)
		c.place(t)
		c.bury(t, now)
	})
	for k := range c.rows {
		if _, ok := rows[k]; !ok {
			delete(c.rows, k)
		}
	}
	for _, k := range rested {
		last, err := c.o.Source.Take(k)
		if err != nil {
			return err
		}
		c.o.Table.View(func(t *identity.Table, _ map[string]int) {
			c.merge(t, k, last, now, full)
			c.place(t)
		})
		delete(c.rows, k)
	}
	return nil
}

// merge adds what a row has more than before to its container, and reports
// whether the row may leave the kernel.
func (c *Collector) merge(t *identity.Table, k bpf.DenialKey, d bpf.Denial, now time.Time, full bool) (rested bool) {
	was, known := c.rows[k]
	pidns := identity.NSKey{Inum: k.Who.PIDNS, Gen: k.Who.PIDNSStart}
	x := t.Owner(pidns, k.Who.UserNS, k.Who.UserNSID)
	if x == nil {
		x = t.Gone(pidns) // it may have died of what was refused
	}
	switch {
	case d.Count == 0: // taken, and empty
		return false
	case x == nil: // its first process may not have been told yet
		if !known {
			c.rows[k] = seen{since: now}
			return false
		}
		if !full && now.Sub(was.since) < goneAfter {
			return false
		}
		c.unowned += d.Count - was.count
		c.rows[k] = seen{count: d.Count, since: was.since}
		return true
	case known && d.Count == was.count:
		if was.blank && d.Time != 0 {
			c.add(t, x, k, d, 0, now)
			c.rows[k] = seen{count: d.Count, since: now}
		}
		return full || now.Sub(was.since) >= restAfter
	}
	c.rows[k] = seen{count: d.Count, since: now, blank: d.Time == 0}
	if d.Count > was.count {
		c.add(t, x, k, d, d.Count-was.count, now)
	}
	return false
}

func (c *Collector) add(t *identity.Table, x *identity.Container, k bpf.DenialKey, d bpf.Denial, n uint64, now time.Time) {
	box := c.containers[x.ID]
	if box == nil {
		box = &container{kinds: map[kind]*identity.DenialRecord{}}
		c.containers[x.ID] = box
	}
	key := kind{k.Op, k.Errno, k.Cause, k.Detail}
	r := box.kinds[key]
	if r == nil {
		if len(box.kinds) >= maxKinds {
			box.other += n
			c.grew(x, other, n)
			return
		}
		r = record(x, k, now)
		box.kinds[key] = r
	}
	r.Count += n
	c.grew(x, r.Cause, n)
	at := c.o.Clock.At(d.Time)
	if d.Time == 0 || at.Before(r.Time) { // another cgroup's row has a later one
		return
	}
	if r.Count == n {
		r.First = at
	}
	c.last(t, x, r, d)
}

// bury forgets what is gone for long, or too many.
func (c *Collector) bury(t *identity.Table, now time.Time) {
	var gone []string
	for id, box := range c.containers {
		switch {
		case t.Container(id) != nil:
			box.gone = time.Time{}
			continue
		case box.gone.IsZero():
			box.gone = now
		case now.Sub(box.gone) > keepGone:
			delete(c.containers, id)
			continue
		}
		gone = append(gone, id)
	}
	if len(gone) <= maxContainers {
		return
	}
	slices.SortFunc(gone, func(a, b string) int { return c.containers[a].gone.Compare(c.containers[b].gone) })
	for _, id := range gone[:len(gone)-maxContainers] {
		delete(c.containers, id)
	}
}

// Totals returns how often each container was refused something; false where
// nothing is told.
func (c *Collector) Totals(now time.Time) (map[string]uint64, bool, error) {
	if c.Blind() != "" {
		return nil, false, nil
	}
	if err := c.Sync(now); err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]uint64{}
	for id, box := range c.containers {
		n := box.other
		for _, r := range box.kinds {
			n += r.Count
		}
		all[id] = n
	}
	return all, true, nil
}
