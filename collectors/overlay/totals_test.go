package overlay

import (
	"errors"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
)

// Bytes are of all ways and mounts, and what rests has not been forgotten;
// depths are not added up.
func TestTotals(t *testing.T) {
	n := newNode()
	outer, inner, idle := n.put(10, 10), n.put(20, 10, 20), n.put(30, 10, 30)
	n.rows[row(10, 1, 1)] = bpf.Overlay{ReadBytes: 1, SpliceReadBytes: 2, WriteBytes: 4, SpliceWriteBytes: 8, CopyRangeBytes: 16, CopyUpBytes: 32, Reads: bpf.Histogram{Untimed: 1}}
	n.rows[row(10, 2, 1)] = read(1 << 40)
	n.rows[row(20, 3, 2)] = bpf.Overlay{ReadBytes: 7, CopyUpBytes: 9}
	n.rows[row(20, 4, 1)] = bpf.Overlay{ReadBytes: 5, WriteBytes: 3}
	n.rows[row(99, 1, 1)] = read(7) // nobody's
	c := n.collector()
	if got, counted, err := c.Totals(); got != nil || counted || err != nil {
		t.Errorf("before anything is attached: %v, %v, %v", got, counted, err)
	}
	n.Attach()
	want := map[string]Bytes{outer: {1<<40 + 3, 28, 32}, inner: {7, 3, 9}}
	totals := func(what string) {
		t.Helper()
		got, counted, err := c.Totals()
		if !counted || err != nil {
			t.Fatalf("%s: %v, %v", what, counted, err)
		}
		equal(t, what, want, got)
	}
	totals("totals")
	for _, at := range []int64{0, 100} {
		if err := c.sweep(time.Unix(1000+at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "all rows are taken", 0, len(n.rows))
	totals("and nothing is lost")
	n.rows[row(30, 1, 1)] = read(1)
	want[idle] = Bytes{Read: 1}
	totals("one begins")
	n.die(20)
	delete(want, inner)
	totals("one is gone")
	n.err = errors.New("cannot read the map")
	if got, counted, err := c.Totals(); got != nil || counted || !errors.Is(err, n.err) {
		t.Errorf("a map that cannot be read: %v, %v, %v", got, counted, err)
	}
}
