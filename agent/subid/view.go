package subid

import (
	"cmp"
	"slices"
	"time"
)

// Counts are the pool's blocks by what they are. Each is counted once, in the
// order of the fields.
type Counts struct {
	Blocked     int // on record, but nobody can say by whom
	Leased      int
	Releasing   int
	Taken       int // others have them
	Unused      int // never leased
	Rested      int // freed, and out of quarantine
	Quarantined int
}

// Counts counts the blocks.
func (p *Pool) Counts(now time.Time, taken *Taken) Counts {
	var c Counts
	by := taken.walker()
	for i := range p.blocks {
		switch b := &p.blocks[i]; {
		case b.blocked != "":
			c.Blocked++
		case b.owner != nil && b.owner.state == Leased:
			c.Leased++
		case b.owner != nil:
			c.Releasing++
		case by(p.first+uint32(i)) != nil:
			c.Taken++
		case b.freed == 0:
			c.Unused++
		case stamp(now)-b.freed >= int64(p.opts.Quarantine):
			c.Rested++
		default:
			c.Quarantined++
		}
	}
	return c
}

// Range is the range that the pool leases from.
func (p *Pool) Range() Range { return p.opts.Range }

// Leases returns the live leases, by range.
func (p *Pool) Leases() []Record {
	out := make([]Record, 0, len(p.leases))
	for _, l := range p.leases {
		out = append(out, l.record())
	}
	slices.SortFunc(out, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Range.Start, b.Range.Start), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Lookup returns the live lease of an id.
func (p *Pool) Lookup(id string) (Record, bool) {
	l := p.leases[id]
	if l == nil {
		return Record{}, false
	}
	return l.record(), true
}

// Owner returns whose block a host id is in: a live lease, or who had it last
// (Tombstone; the range is then that of the block). False: it was never leased.
func (p *Pool) Owner(id uint32) (Record, bool) {
	from, to := p.rows(Range{Start: id, Count: 1})
	if from == to {
		return Record{}, false
	}
	switch b := &p.blocks[from]; {
	case b.owner != nil:
		return b.owner.record(), true
	case b.freed != 0:
		return Record{ID: b.freedBy, Range: p.run(from, 1), State: Tombstone, Since: time.Unix(0, b.freed)}, true
	}
	return Record{}, false
}

// Obstacles returns the blocks that no lease has and that cannot be leased,
// as runs with who is in the way.
func (p *Pool) Obstacles(taken *Taken) []Holder {
	var out []Holder
	by := taken.walker()
	for i := range p.blocks {
		h := Holder{Range: p.run(i, 1)}
		switch b, claim := &p.blocks[i], by(p.first+uint32(i)); {
		case b.blocked != "":
			h.Who, h.State = b.blocked, "blocked"
		case b.owner == nil && claim != nil:
			h.Who, h.State = claim.Source, "taken"
		default:
			continue
		}
		if n := len(out); n > 0 && out[n-1].Who == h.Who && out[n-1].State == h.State && out[n-1].Range.End() == uint64(h.Range.Start) {
			out[n-1].Range.Count += BlockSize
			continue
		}
		out = append(out, h)
	}
	return out
}

// Bounds of what a DryError names, so that each kind is in it.
const (
	maxDryLeases = 6
	maxDryOthers = 2
)

func (p *Pool) dry(id string, size uint32, now time.Time, taken *Taken) *DryError {
	e := &DryError{ID: id, Size: size, Pool: p.opts.Range, Counts: p.Counts(now, taken)}
	older := func(a, b Holder) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Range.Start, b.Range.Start))
	}
	for _, l := range p.leases {
		h := Holder{Who: l.id, State: string(l.state), Range: l.r, Since: l.since}
		at, _ := slices.BinarySearchFunc(e.Holders, h, older)
		if at == maxDryLeases {
			continue
		}
		e.Holders = slices.Insert(e.Holders, at, h)
		e.Holders = e.Holders[:min(len(e.Holders), maxDryLeases)]
	}
	named := map[string]int{}
	for _, h := range p.Obstacles(taken) {
		if named[h.State]++; named[h.State] <= maxDryOthers {
			e.Holders = append(e.Holders, h)
		}
	}
	return e
}

func (l *lease) record() Record { return Record{ID: l.id, Range: l.r, State: l.state, Since: l.since} }
