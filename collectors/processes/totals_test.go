package processes

import (
	"errors"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

func anyone(*identity.Container) bool { return true }

// Every container that is wanted is told with what it has itself, with or
// without a series of its own, and what cannot be read is an error.
func TestTotals(t *testing.T) {
	n := newNode()
	outer := n.put(10, 1, 10)
	inner := n.put(20, 2, 10, 20)
	shares := n.put(30, 1, 10, 30)
	n.put(40, 3, 40)
	n.zombies[inner.ID] = 3
	n.rows[row(10, 1)], n.rows[row(10, 9)] = bpf.Counts{Forks: 1, Execs: 2}, bpf.Counts{Forks: 4}
	n.rows[row(20, 2)] = bpf.Counts{Forks: 1 << 40}
	c := collector(n, 1)
	clock := identity.Clock{Boot: time.Unix(1000, 0)}
	within := func(x *identity.Container) bool { return x.Outer() == outer }
	want := []Total{
		{Container: outer.Record(clock), Processes: 1, Threads: 2, Counts: bpf.Counts{Forks: 5, Execs: 2}},
		{Container: inner.Record(clock), Processes: 1, Threads: 2, Zombies: 3, Counts: bpf.Counts{Forks: 1 << 40}},
		{Container: shares.Record(clock), Processes: 1, Threads: 2},
	}
	for range 2 {
		got, err := c.Totals(t.Context(), clock, within)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "totals", want, got)
	}
	same(t, "refreshed once in a second", 1, n.fresh)
	same(t, "a scrape tells the same", map[string]float64{"": 0, inner.ID: 1 << 40, Other: 0}, func() map[string]float64 {
		got := values(t, c, "forks_total")
		got[""] = 0 // of two sandboxes
		return got
	}())
	if got, err := c.Totals(t.Context(), clock, anyone); err != nil || len(got) != 4 {
		t.Errorf("all: %d, %v", len(got), err)
	}
	n.err = errors.New("cannot read the counts map")
	if _, err := c.Totals(t.Context(), clock, anyone); !errors.Is(err, n.err) {
		t.Errorf("counts that cannot be read: %v", err)
	}
	n.err, n.stale, c.fresh = nil, errors.New("busy"), time.Time{}
	if _, err := c.Totals(t.Context(), clock, anyone); !errors.Is(err, n.stale) {
		t.Errorf("a table that is stale: %v", err)
	}
}
