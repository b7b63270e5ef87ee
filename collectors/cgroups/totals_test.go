package cgroups

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Who has a cgroup of their own is read, up to a bound, outer ones first and the
// same each time; scrapes go on where they were.
func TestTotals(t *testing.T) {
	n := newNode()
	outer, inner := n.put(10, 1, 10), n.put(20, 102, 10, 20)
	n.put(30, 1, 10, 30) // shares
	n.put(40, 99, 40)    // the root
	n.put(50, 5, 50)     // vanished
	other := n.put(60, 6, 60)
	n.have["/pod1"], n.have["/pod1/2"], n.have["/pod6"] = used(3), used(2), used(1)
	all := func(*identity.Container) bool { return true }
	for name, tc := range map[string]struct {
		most int
		want func(*identity.Container) bool
		ids  map[string]Stats
	}{
		"all":    {0, all, map[string]Stats{outer.ID: used(3), inner.ID: used(2), other.ID: used(1)}},
		"bound":  {1, all, map[string]Stats{outer.ID: used(3)}},
		"wanted": {0, func(x *identity.Container) bool { return x.Outer() == outer }, map[string]Stats{outer.ID: used(3), inner.ID: used(2)}},
		"nobody": {0, func(*identity.Container) bool { return false }, map[string]Stats{}},
	} {
		c := collector(n, Options{MaxReads: tc.most})
		for range 2 {
			if d := cmp.Diff(tc.ids, c.Totals(tc.want)); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
		if c.begin != 0 || c.nested.Len() != 0 {
			t.Errorf("%s: a scrape begins at %d with %d slots", name, c.begin, c.nested.Len())
		}
	}
}
