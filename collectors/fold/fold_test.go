package fold

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// counts are of a kind that would show if sums were shared.
type counts map[string]int

func (c *counts) add(n counts) {
	if *c == nil {
		*c = counts{}
	}
	for k, v := range n {
		(*c)[k] += v
	}
}

func series(most int) *Series[counts] { return New(most, (*counts).add) }

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// living are those of a set.
func living(ids ...string) func(string) bool {
	return func(id string) bool { return slices.Contains(ids, id) }
}

func ended(n counts) func(string) (counts, bool) {
	return func(string) (counts, bool) { return n, n != nil }
}

// Each step is done after those before it.
func TestSeries(t *testing.T) {
	s := series(1)
	for _, step := range []struct {
		name string
		do   func()
		want map[string]Remainder[counts]
	}{
		{"nobody", func() {}, map[string]Remainder[counts]{}},
		{"the first has series", func() { same(t, "own", true, s.Own("o", "a")); s.Set("o", "a", counts{"x": 99}) }, map[string]Remainder[counts]{}},
		{"another outermost container has its own", func() { same(t, "own", true, s.Own("p", "z")) }, map[string]Remainder[counts]{}},
		{"the second has none", func() { same(t, "own", false, s.Own("o", "b")) }, map[string]Remainder[counts]{"o": {Folded: 1, Sum: counts{}}}},
		{"and counts", func() { s.Set("o", "b", counts{"x": 1}); s.Set("o", "b", counts{"x": 2}) },
			map[string]Remainder[counts]{"o": {Folded: 1, Sum: counts{"x": 2}}}},
		{"a third counts otherwise", func() { s.Own("o", "c"); s.Set("o", "c", counts{"x": 5, "y": 1}) },
			map[string]Remainder[counts]{"o": {Folded: 2, Sum: counts{"x": 7, "y": 1}}}},
		{"who was not placed is not counted", func() { s.Set("o", "d", counts{"x": 1}); s.Set("q", "d", counts{"x": 1}) },
			map[string]Remainder[counts]{"o": {Folded: 2, Sum: counts{"x": 7, "y": 1}}}},
		{"who is gone stays in the sum", func() { s.Retire(living("o", "a", "c", "p", "z"), nil) },
			map[string]Remainder[counts]{"o": {Folded: 1, Sum: counts{"x": 7, "y": 1}}}},
		{"with what is known of its end", func() { s.Retire(living("o", "p"), ended(counts{"x": 6, "y": 2})) },
			map[string]Remainder[counts]{"o": {Sum: counts{"x": 8, "y": 2}}}},
		{"once", func() { s.Retire(living("o", "p"), ended(counts{"x": 7})) }, map[string]Remainder[counts]{"o": {Sum: counts{"x": 8, "y": 2}}}},
		{"a free place is taken", func() { same(t, "own", true, s.Own("o", "e")) }, map[string]Remainder[counts]{"o": {Sum: counts{"x": 8, "y": 2}}}},
		{"nobody's end is known", func() { s.Own("o", "f"); s.Set("o", "f", counts{"y": 1}); s.Retire(living("o", "p"), ended(nil)) },
			map[string]Remainder[counts]{"o": {Sum: counts{"x": 8, "y": 3}}}},
		{"all end with the outermost", func() { s.Retire(living("p"), nil) }, map[string]Remainder[counts]{}},
		{"and if it comes back it begins anew", func() { s.Own("o", "a"); s.Own("o", "b") }, map[string]Remainder[counts]{"o": {Folded: 1, Sum: counts{}}}},
	} {
		step.do()
		same(t, step.name, step.want, maps.Collect(s.Remainders()))
	}
	same(t, "outermost ones", 2, s.Len())
	s.Retire(living(), nil)
	same(t, "nothing is kept", 0, s.Len())
}

// Who has been placed once stays there, whatever becomes free.
func TestPlacesStay(t *testing.T) {
	s := series(0)
	var ids []string
	for i := range usual + 1 {
		ids = append(ids, fmt.Sprint(i))
		same(t, "own", i < usual, s.Own("o", ids[i]))
	}
	s.Retire(living("o", ids[1], ids[usual]), nil)
	for range 2 {
		same(t, "who had series", true, s.Own("o", ids[1]))
		same(t, "who had none, with places free", false, s.Own("o", ids[usual]))
	}
	for id, want := range map[string]bool{ids[1]: false, ids[usual]: true, "new": false} {
		same(t, "folded "+id, want, s.Folded("o", id))
	}
	same(t, "folded of nobody's", false, s.Folded("p", ids[usual]))
}

// What is heard of a container after its end is the remainder's, or nobody's.
func TestLate(t *testing.T) {
	gone := func(s *Series[counts]) { s.Retire(living("o", "a"), nil) }
	for _, tc := range []struct {
		name string
		do   func(*Series[counts])
		want map[string]Remainder[counts]
	}{
		{"no series at all", func(*Series[counts]) {}, map[string]Remainder[counts]{}},
		{"a place is free", func(s *Series[counts]) { s.Own("o", "b"); gone(s) }, map[string]Remainder[counts]{}},
		{"none is free", func(s *Series[counts]) { s.Own("o", "a") }, map[string]Remainder[counts]{"o": {Sum: counts{"x": 1}}}},
		{"there was a remainder", func(s *Series[counts]) { s.Own("o", "b"); s.Own("o", "c"); gone(s) }, map[string]Remainder[counts]{"o": {Sum: counts{"x": 1}}}},
		{"it has series yet", func(s *Series[counts]) { s.Own("o", "late"); s.Own("o", "b") }, map[string]Remainder[counts]{"o": {Folded: 1, Sum: counts{}}}},
		{"it is folded yet", func(s *Series[counts]) { s.Own("o", "a"); s.Own("o", "late") }, map[string]Remainder[counts]{"o": {Folded: 1, Sum: counts{}}}},
	} {
		s := series(1)
		tc.do(s)
		s.Late("o", "late", counts{"x": 1})
		same(t, tc.name, tc.want, maps.Collect(s.Remainders()))
	}
}

// Remainders are the caller's to change, and may be left before their end.
func TestSumsAreNotShared(t *testing.T) {
	s, n := series(1), counts{"x": 1}
	for _, o := range []string{"o", "p"} {
		s.Own(o, "a")
		s.Own(o, "b")
		s.Set(o, "b", n)
		s.Own(o, "c")
		s.Set(o, "c", n)
	}
	s.Retire(living("o", "p", "a", "c"), nil)
	for range 2 {
		for _, r := range s.Remainders() {
			same(t, "sum", counts{"x": 2}, r.Sum)
			r.Sum["x"] = 99
			break
		}
	}
	same(t, "what was Set", counts{"x": 1}, n)
}
