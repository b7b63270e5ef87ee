package processes

import (
	"fmt"
	"testing"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// What a folded container counted since the last scrape is not lost with it, also
// in a cgroup it was not in before, and is counted once, whoever asks meanwhile.
func TestGoneBetweenScrapes(t *testing.T) {
	for _, asked := range []bool{false, true} {
		n := newNode()
		n.put(10, 0, 10)
		first := n.put(20, 0, 10, 20)
		n.put(30, 0, 10, 30)
		n.put(40, 0, 10, 40)
		for _, ns := range []uint32{20, 30, 40} {
			n.rows[row(ns, 0)] = bpf.Counts{Forks: uint64(ns)}
		}
		c := collector(n, 1)
		forks := func() map[string]float64 { t.Helper(); return values(t, c, "forks_total") }
		same(t, "before", map[string]float64{"": 0, first.ID: 20, Other: 70}, forks())
		n.rows[row(20, 0)], n.rows[row(30, 0)], n.rows[row(30, 7)] = bpf.Counts{Forks: 21}, bpf.Counts{Forks: 33}, bpf.Counts{Forks: 100}
		n.die(30)
		n.die(20)
		if asked {
			if got, err := c.Totals(t.Context(), identity.Clock{}, anyone); err != nil || len(got) != 2 {
				t.Fatalf("asked meanwhile: %v, %v", got, err)
			}
			for key := range c.lost {
				c.lost[key] = c.lost[key].Add(-2 * goneAfter)
			}
			if _, err := c.Totals(t.Context(), identity.Clock{}, anyone); err != nil || len(n.rows) != 1 {
				t.Fatalf("rows of the dead are not taken: %v, %v", n.rows, err)
			}
		}
		for range 2 {
			same(t, fmt.Sprintf("all that it counted, asked %v", asked), map[string]float64{"": 0, Other: 173}, forks())
		}
		for key := range c.lost {
			c.lost[key] = c.lost[key].Add(-2 * goneAfter)
		}
		forks()
		same(t, "without its rows", map[string]float64{"": 0, Other: 173}, forks())
		same(t, "who is remembered", 1, len(c.owners))
	}
}
