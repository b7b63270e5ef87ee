package cgroups

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Who has a cgroup of their own is told, also without series.
func TestTotals(t *testing.T) {
	n := newNode()
	outer, inner := n.put(10, 1, 10), n.put(20, 102, 10, 20)
	n.put(30, 1, 10, 30) // shares
	n.put(40, 99, 40)    // the root
	n.put(50, 5, 50)     // vanished
	other := n.put(60, 6, 60)
	folded := n.put(70, 107, 10, 70)
	n.have["/pod1/7"] = used(4)
	n.have["/pod1"], n.have["/pod1/2"], n.have["/pod6"] = used(3), used(2), used(1)
	everyone := func(*identity.Container) bool { return true }
	for name, tc := range map[string]struct {
		want func(*identity.Container) bool
		ids  map[string]Stats
	}{
		"all":    {everyone, map[string]Stats{outer.ID: used(3), inner.ID: used(2), folded.ID: used(4), other.ID: used(1)}},
		"wanted": {func(x *identity.Container) bool { return x.Outer() == other }, map[string]Stats{other.ID: used(1)}},
		"nobody": {func(*identity.Container) bool { return false }, map[string]Stats{}},
	} {
		c := collector(n, Options{MaxNested: 1})
		for range 2 {
			if d := cmp.Diff(tc.ids, c.Totals(tc.want)); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
	}
}
