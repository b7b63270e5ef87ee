package overlay

import (
	"testing"
	"time"
)

// What a folded container did since the last scrape is not lost with it, wherever
// it is: in the kernel, or taken from it.
func TestGoneBetweenScrapes(t *testing.T) {
	n := newNode()
	n.put(10, 10)
	first := n.put(20, 10, 20)
	for ns := uint32(30); ns < 33; ns++ {
		n.put(ns, 10, ns)
	}
	n.rows[row(20, 1, 1)], n.rows[row(30, 1, 1)] = read(1), read(10)
	c := n.with(1)
	now := time.Unix(1000, 0)
	sweep := func(after time.Duration) {
		t.Helper()
		now = now.Add(after)
		if err := c.sweep(now); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "before", map[string]float64{first + " 1": 1, "_other 1": 10}, readBytes(t, c))
	n.rows[row(30, 1, 1)], n.rows[row(30, 2, 1)] = read(15), read(100)
	n.die(30)
	equal(t, "in the kernel", map[string]float64{first + " 1": 1, "_other 1": 115}, readBytes(t, c))
	equal(t, "once", map[string]float64{first + " 1": 1, "_other 1": 115}, readBytes(t, c))

	// No scrape hears of these before they are gone.
	n.rows[row(31, 1, 1)], n.rows[row(32, 1, 1)] = read(1000), read(10000)
	sweep(0)
	sweep(2 * restAfter)
	equal(t, "all rows are taken", 0, len(n.rows))
	n.rows[row(32, 1, 1)] = read(1)
	n.die(31)
	n.die(32)
	sweep(time.Second)
	if got, counted, err := c.Totals(); counted || err != nil {
		t.Fatalf("%v, %v, %v", got, counted, err)
	}
	sweep(2 * goneAfter)
	sweep(2 * goneAfter)
	equal(t, "rows of the dead are taken, too", 0, len(n.rows))
	equal(t, "taken", map[string]float64{first + " 1": 1, "_other 1": 11116}, readBytes(t, c))
	equal(t, "who is remembered", 0, len(c.owners))
}

// Without scrapes nothing is kept of the dead either.
func TestBoundedWithoutScrapes(t *testing.T) {
	n := newNode()
	n.put(10, 10)
	c := n.with(3)
	now := time.Unix(1000, 0)
	for ns := uint32(20); ns < 60; ns++ {
		n.put(ns, 10, ns)
		n.rows[row(ns, 1, 1)] = read(1)
		for range 2 {
			now = now.Add(2 * restAfter)
			if err := c.sweep(now); err != nil {
				t.Fatal(err)
			}
		}
		n.die(ns)
	}
	if err := c.sweep(now); err != nil {
		t.Fatal(err)
	}
	equal(t, "taken", 0, len(c.taken))
	equal(t, "users", 0, len(c.users))
	equal(t, "no series", map[string]float64{}, readBytes(t, c))
}
