package overlay

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// node is all that a Collector asks.
type node struct {
	table    *identity.Table
	rows     map[bpf.OverlayKey]bpf.Overlay
	err      error
	capacity int
	attached int // times tried
	tested   int
	hooks    []bpf.Hook
	missing  string
	fuse     int
}

func newNode() *node {
	return &node{
		table: identity.NewTable(identity.Options{Boot: "b"}), rows: map[bpf.OverlayKey]bpf.Overlay{}, capacity: 100,
		hooks: []bpf.Hook{{Name: "overlay_read", State: bpf.HookActive}},
	}
}

func (n *node) View(f func(*identity.Table, map[string]int))  { f(n.table, nil) }
func (n *node) Rows() (map[bpf.OverlayKey]bpf.Overlay, error) { return maps.Clone(n.rows), n.err }
func (n *node) Take(k bpf.OverlayKey) (bpf.Overlay, error) {
	v := n.rows[k]
	delete(n.rows, k)
	return v, nil
}
func (n *node) Capacity() int         { return n.capacity }
func (n *node) Attach()               { n.attached++; n.missing = "" }
func (n *node) AttachFuse()           { n.fuse++ }
func (n *node) Attached() bool        { return n.attached > 0 }
func (n *node) Missing(reason string) { n.missing = reason }
func (n *node) SelfTest(d bpf.Drive)  { n.tested++ }
func (n *node) Hooks() []bpf.Hook     { return n.hooks }
func (n *node) collector() *Collector { return n.with(0) }
func (n *node) with(m int) *Collector {
	return New(Options{Source: n, Table: n, MaxNested: m, Log: zerolog.Nop()})
}
func (n *node) die(pid uint32) { n.table.Apply(&bpf.Exit{Time: 1e9, Start: uint64(pid), PID: pid}) }
func (n *node) put(pid uint32, chain ...uint32) string {
	const hostPIDNS, hostUserNS = 4026531836, 4026531837
	r := &bpf.Process{
		Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, Threads: 1, Comm: "sh", Cgroup: 1,
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: hostPIDNS}}, UserLevels: []bpf.Level{{UserNS: hostUserNS}},
	}
	for _, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: pid, PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: hostUserNS})
	}
	n.table.Apply(r)
	return n.table.Process(identity.HostPID(pid)).Container.ID
}

// row is of the container whose pid namespace is ns.
func row(ns, dev uint32, depth uint16) bpf.OverlayKey {
	return bpf.OverlayKey{
		Who: bpf.CountsKey{PIDNS: ns, PIDNSStart: uint64(ns), UserNS: 4026531837, Cgroup: 1}, Dev: dev, Depth: depth,
	}
}

func read(bytes uint64) bpf.Overlay {
	return bpf.Overlay{ReadBytes: bytes, Reads: bpf.Histogram{Untimed: 1}}
}

// readBytes are the bytes read, by nested label and depth.
func readBytes(t *testing.T, c *Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			l := map[string]string{}
			for _, p := range m.GetLabel() {
				l[p.GetName()] = p.GetValue()
			}
			if f.GetName() == "eyas_overlay_read_bytes_total" && l["way"] == "read" {
				got[l["nested"]+" "+l["depth"]] = m.GetCounter().GetValue()
			}
		}
	}
	return got
}

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.AllowUnexported(root{})); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestGolden(t *testing.T) {
	n := newNode()
	outer := n.put(10, 10)
	inner := n.put(20, 10, 20)
	n.put(30, 10, 30) // no I/O, no series
	h := bpf.Histogram{Untimed: 5, Sum: 3 * time.Second}
	h.Bucket[0], h.Bucket[2], h.Bucket[bpf.Buckets-1] = 1, 2, 3
	n.rows[row(10, 1, 1)] = bpf.Overlay{
		Reads: h, Writes: bpf.Histogram{Untimed: 2}, CopyUps: h, ReadBytes: 1, WriteBytes: 2, Queued: 3,
		SpliceReads: 4, SpliceReadBytes: 5, SpliceWrites: 6, SpliceWriteBytes: 7, CopyRanges: 8, CopyRangeBytes: 9,
		Opens: 10, Mmaps: 11, Faults: 19, Creates: 12, Removes: 13, Whiteouts: 14, DataCopyUps: 15, MetaCopyUps: 16, OtherCopy: 17, CopyUpBytes: 18,
	}
	n.rows[row(10, 2, 1)] = bpf.Overlay{ReadBytes: 1 << 40} // another mount: added
	n.rows[row(20, 3, 2)] = bpf.Overlay{CopyUpBytes: 1}     // another depth: not added
	fuse := n.put(40, 10, 40)
	n.rows[row(40, 4, 0)] = bpf.Overlay{ // what it copies up is not known
		ReadBytes: 3, SpliceReadBytes: 4, WriteBytes: 5, Reads: bpf.Histogram{Untimed: 6}, SpliceReads: 7, Opens: 8, Mmaps: 9,
	}
	c := n.collector()
	golden, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("OUTER", outer, "INNER", inner, "FUSE", fuse).Replace(string(golden))
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "eyas_overlay_read_bytes_total", "eyas_overlay_write_bytes_total",
		"eyas_overlay_operations_total", "eyas_overlay_queued_total", "eyas_overlay_copy_ups_total", "eyas_overlay_copy_up_bytes_total",
		"eyas_overlay_copy_up_seconds"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	n.err = errors.New("cannot read the map")
	if err := testutil.CollectAndCompare(c, strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "cannot read the map") {
		t.Errorf("a map that cannot be read: %v", err)
	}
}

func TestSeriesAreBounded(t *testing.T) {
	n := newNode()
	n.put(10, 10)
	var ids []string
	for ns := uint32(20); ns < 25; ns++ {
		ids = append(ids, n.put(ns, 10, ns))
		n.rows[row(ns, ns, 1)] = read(uint64(ns))
	}
	c := n.with(2)
	equal(t, "two have series", map[string]float64{ids[0] + " 1": 20, ids[1] + " 1": 21, "_other 1": 22 + 23 + 24}, readBytes(t, c))
	n.die(20) // a place is free: for new ones only, since counters do not move
	n.die(22)
	n.rows[row(23, 23, 1)] = read(100)
	equal(t, "the remainder keeps what the dead read", map[string]float64{ids[1] + " 1": 21, "_other 1": 22 + 100 + 24}, readBytes(t, c))
	late := n.put(30, 10, 30)
	n.rows[row(30, 30, 1)] = read(1)
	equal(t, "a new one", map[string]float64{ids[1] + " 1": 21, late + " 1": 1, "_other 1": 22 + 100 + 24}, readBytes(t, c))
	for _, pid := range []uint32{21, 23, 24, 30, 10} {
		n.die(pid)
	}
	equal(t, "series die with their sandbox", map[string]float64{}, readBytes(t, c))
	equal(t, "and so does what is kept of it", 0, c.nested.Len())
}

func TestRestingRowsAreTaken(t *testing.T) {
	n := newNode()
	id := n.put(10, 10)
	n.put(20, 10, 20)
	for dev := range uint32(40) {
		n.rows[row(10, dev, 1)] = read(1)
	}
	n.rows[row(99, 1, 1)] = read(7) // nobody's
	c := n.collector()
	now := time.Unix(1000, 0)
	sweep := func(after time.Duration) {
		t.Helper()
		now = now.Add(after)
		if err := c.sweep(now); err != nil {
			t.Fatal(err)
		}
	}
	sweep(0)
	sweep(30 * time.Second)
	equal(t, "only nobody's is taken so soon", 40, len(n.rows))
	n.rows[row(10, 0, 1)] = bpf.Overlay{ReadBytes: 2, Reads: bpf.Histogram{Untimed: 2}}
	sweep(30 * time.Second)
	equal(t, "one is in use", 1, len(n.rows))
	equal(t, "and nothing is lost", map[string]float64{" 1": 41}, readBytes(t, c))
	n.rows[row(10, 5, 1)] = read(1) // used again
	equal(t, "a row comes back", map[string]float64{" 1": 42}, readBytes(t, c))

	n.capacity = 60
	for dev := uint32(100); dev < 140; dev++ {
		n.rows[row(10, dev, 1)] = read(1)
	}
	sweep(time.Second)
	sweep(time.Second)
	equal(t, "all are taken when the map fills up", 0, len(n.rows))
	equal(t, "and nothing is lost then", map[string]float64{" 1": 82}, readBytes(t, c))
	equal(t, "nor kept in vain", 0, len(c.rests))
	if c.taken[id] == nil {
		t.Error("nothing is kept of the container")
	}
	n.die(20)
	n.die(10)
	readBytes(t, c)
	equal(t, "what was taken goes with the container", 0, len(c.taken))
}

func TestAttach(t *testing.T) {
	n := newNode()
	c := n.collector()
	c.o.Proc = t.TempDir()
	filesystems := func(text string) {
		if err := os.WriteFile(filepath.Join(c.o.Proc, "filesystems"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.attach()
	filesystems("nodev\ttmpfs\n\text4\nnodev\toverlayish\n")
	c.attach()
	if n.attached != 0 || n.missing != ErrNotLoaded.Error() {
		t.Errorf("without overlay: attached %d times, missing %q", n.attached, n.missing)
	}
	filesystems("nodev\ttmpfs\nnodev\toverlay\n")
	n.hooks = []bpf.Hook{{Name: "overlay_read", State: bpf.HookMissing, Reason: "refused"}}
	c.attach()
	c.attach()
	if n.attached != 1 || n.tested != 1 || n.missing != "" {
		t.Errorf("with overlay: attached %d times, tested %d, missing %q", n.attached, n.tested, n.missing)
	}
}
