package subid

import (
	"cmp"
	"slices"
	"sort"
)

// Claim is a range that somebody else holds. Source says who, and where that
// is written: it is what a person reads who wonders why a block is not used.
type Claim struct {
	Range  Range  `json:"range"`
	Source string `json:"source"`
}

// Taken is a snapshot of what others hold, by block: one id of a block takes
// all of it. It does not change, and may be shared.
type Taken struct {
	spans []span // disjoint, ascending
}

// span is blocks [first, last] of one claim.
type span struct {
	first, last uint32
	claim       *Claim
}

// NewTaken makes a snapshot of claims. Where they overlap, the one that starts
// first is named. Claims without ids are left out.
func NewTaken(claims []Claim) *Taken {
	own := slices.DeleteFunc(slices.Clone(claims), func(c Claim) bool { return c.Range.Count == 0 })
	slices.SortStableFunc(own, func(a, b Claim) int { return cmp.Compare(a.Range.Start, b.Range.Start) })
	t := &Taken{}
	next := uint64(0) // first block that no span covers yet
	for i := range own {
		r := own[i].Range
		first := max(uint64(r.Start)/BlockSize, next)
		last := (min(r.End(), idSpace) - 1) / BlockSize
		if first > last {
			continue
		}
		t.spans = append(t.spans, span{uint32(first), uint32(last), &own[i]})
		next = last + 1
	}
	return t
}

// By returns the claim that takes the block of an id.
func (t *Taken) By(id uint32) (Claim, bool) {
	if t == nil {
		return Claim{}, false
	}
	b := id / BlockSize
	i := sort.Search(len(t.spans), func(i int) bool { return t.spans[i].last >= b })
	if i < len(t.spans) && t.spans[i].first <= b {
		return *t.spans[i].claim, true
	}
	return Claim{}, false
}

// rows is the part of a pool's rows [from, to) that a claim takes.
type rows struct{ from, to int }

// within returns what is taken of n blocks from first on, ascending.
func (t *Taken) within(first uint32, n int) []rows {
	if t == nil {
		return nil
	}
	i := sort.Search(len(t.spans), func(i int) bool { return t.spans[i].last >= first })
	var out []rows
	for _, s := range t.spans[i:] {
		from, to := max(int(s.first)-int(first), 0), min(int(s.last)-int(first)+1, n)
		if from >= n {
			break
		}
		if k := len(out); k > 0 && out[k-1].to == from {
			out[k-1].to = to
			continue
		}
		out = append(out, rows{from, to})
	}
	return out
}

// walker answers for ascending blocks without a search for each.
func (t *Taken) walker() func(block uint32) *Claim {
	if t == nil {
		return func(uint32) *Claim { return nil }
	}
	spans := t.spans
	return func(block uint32) *Claim {
		for len(spans) > 0 && spans[0].last < block {
			spans = spans[1:]
		}
		if len(spans) > 0 && spans[0].first <= block {
			return spans[0].claim
		}
		return nil
	}
}
