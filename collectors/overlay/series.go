package overlay

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/series"
)

var labels = []string{"namespace", "pod", "container", "nested", "level", "depth", "driver"}

func counter(name, help string, more ...string) *series.Family {
	return series.Counter("eyas_overlay_"+name, help, labels, more...)
}

func histogram(name, help string) *series.Family {
	return series.Histogram("eyas_overlay_"+name, help, labels)
}

func ofRoot(name, help string) *series.Family {
	return series.Gauge("eyas_overlay_"+name, help, labels[:5])
}

var (
	ofRead = counter("read_bytes_total", "Bytes the container read through the layered file system, by way: read, splice (before 6.5 a read). "+
		"A read of an overlay upon an overlay counts at each depth: never add up depths. Depth 0 is fuse-overlayfs, by driver.", "way")
	ofWritten = counter("write_bytes_total", "Bytes the container wrote through the layered file system, by way: write, splice, copy_range.", "way")
	ofOps     = counter("operations_total", "Calls that succeeded. whiteout: removals that had to hide a file of a lower layer. "+
		"fault: pages that a mapping asked the file system for; what it reads and writes then is not seen.", "operation")
	ofQueued    = counter("queued_total", "Reads and writes that went on asynchronously: their bytes are not known.")
	ofCopyUps   = counter("copy_ups_total", "Copies from a lower layer to the upper one: data (a file with its content), metadata (without: metacopy, empty or about to be truncated), other (directories, links, devices).", "kind")
	ofCopied    = counter("copy_up_bytes_total", "Lengths of the files that were copied up with their content.")
	ofReadTime  = histogram("read_seconds", "Time that reads took.")
	ofWriteTime = histogram("write_seconds", "Time that writes took.")
	ofCopyTime  = histogram("copy_up_seconds", "Time that copy-ups took, while the caller waited.")
	ofAvailable = ofRoot("upper_available_bytes", "Space left for the container's writes: in the file system below the upper layer of its root.")
	ofSize      = ofRoot("upper_size_bytes", "Size of that file system.")
	ofLayers    = ofRoot("lower_layers", "Lower layers of the overlay that is the container's root.")
	ofFolded    = series.Gauge("eyas_overlay_nested_folded",
		"Nested containers without overlay series of their own, added up as nested=\"_other\".", labels[:3])
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range []*series.Family{
		ofRead, ofWritten, ofOps, ofQueued, ofCopyUps, ofCopied, ofReadTime, ofWriteTime, ofCopyTime, ofFolded,
		ofAvailable, ofSize, ofLayers,
	} {
		ch <- f.Desc()
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) { c.Tell(series.To(ch)) }

// Tell writes what Collect sends.
func (c *Collector) Tell(w series.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, err := c.o.Source.Rows()
	if err != nil {
		// Counters then have no value: 0 would look like a reset.
		w.Invalid(ofRead, err)
		return
	}
	for _, s := range c.gather(rows) {
		c.emitRoot(w, s)
		for depth, n := range s.numbers {
			if depth == fuseDepth {
				emitFuse(w.Row(labels, s.labels.With(s.nested, strconv.Itoa(s.level), "0", "fuse-overlayfs")...), &n)
				continue
			}
			emit(w.Row(labels, s.labels.With(s.nested, strconv.Itoa(s.level), strconv.Itoa(int(depth)), "overlay")...), &n)
		}
		if s.folded != nil {
			w.Row(labels[:3], s.labels.With()...).Set(ofFolded, float64(*s.folded))
		}
	}
}

// box is one container, or one remainder, with its numbers.
type box struct {
	id      string // of the container; "": a remainder
	labels  identity.PodLabels
	nested  string
	level   int
	folded  *int // of a remainder
	numbers totals
}

func (c *Collector) gather(rows map[bpf.OverlayKey]bpf.Overlay) (out []*box) {
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		all := c.fold(t, rows)
		for _, x := range t.Containers() {
			n, outer := all[x.ID], x.Outer()
			switch {
			case n == nil: // no I/O, no series
			case x == outer:
				out = append(out, &box{id: x.ID, labels: t.PodLabels(x.ID), level: x.Level, numbers: n})
			case c.nested.Own(outer.ID, x.ID):
				out = append(out, &box{id: x.ID, labels: t.PodLabels(outer.ID), nested: x.ID, level: x.Level, numbers: n})
			}
		}
		for id, r := range c.nested.Remainders() {
			out = append(out, &box{labels: t.PodLabels(id), nested: fold.Other, level: 2, folded: &r.Folded, numbers: r.Sum})
		}
	})
	return out
}

// fold returns the totals of each container, and brings the remainders up to
// them. What is kept of containers that are gone goes there, too, or is
// forgotten. The table's lock is held.
func (c *Collector) fold(t *identity.Table, rows map[bpf.OverlayKey]bpf.Overlay) map[string]totals {
	all := c.totals(t, rows)
	alive := func(id string) bool { return t.Container(id) != nil }
	c.nested.Retire(alive, func(id string) (totals, bool) { n, ok := all[id]; return n, ok })
	for id := range c.taken {
		if !alive(id) {
			delete(c.taken, id)
		}
	}
	for _, x := range t.Containers() {
		n, outer := all[x.ID], x.Outer()
		if n != nil && x != outer && !c.nested.Own(outer.ID, x.ID) {
			c.nested.Set(outer.ID, x.ID, n)
		}
	}
	return all
}

func (c *Collector) emitRoot(w series.Writer, s *box) {
	r, ok := c.roots[s.id]
	if !ok {
		return
	}
	row := w.Row(labels[:5], s.labels.With(s.nested, strconv.Itoa(s.level))...)
	row.Set(ofAvailable, float64(r.available))
	row.Set(ofSize, float64(r.size))
	row.Set(ofLayers, float64(r.layers))
}

// fuseDepth is no depth: it is where the numbers of fuse-overlayfs are.
const fuseDepth = 0

// emitFuse sends what the kernel sees of fuse-overlayfs, which is not what it copies up.
func emitFuse(row series.Row, n *bpf.Overlay) {
	row.Set(ofRead, float64(n.ReadBytes), "read")
	row.Set(ofRead, float64(n.SpliceReadBytes), "splice")
	row.Set(ofWritten, float64(n.WriteBytes), "write")
	row.Set(ofOps, float64(n.Reads.Calls()), "read")
	row.Set(ofOps, float64(n.Writes.Calls()), "write")
	row.Set(ofOps, float64(n.SpliceReads), "splice_read")
	row.Set(ofOps, float64(n.Opens), "open")
	row.Set(ofOps, float64(n.Mmaps), "mmap")
	row.Set(ofQueued, float64(n.Queued))
	distribution(row, ofReadTime, &n.Reads)
	distribution(row, ofWriteTime, &n.Writes)
}

func emit(row series.Row, n *bpf.Overlay) {
	row.Set(ofRead, float64(n.ReadBytes), "read")
	row.Set(ofRead, float64(n.SpliceReadBytes), "splice")
	row.Set(ofWritten, float64(n.WriteBytes), "write")
	row.Set(ofWritten, float64(n.SpliceWriteBytes), "splice")
	row.Set(ofWritten, float64(n.CopyRangeBytes), "copy_range")
	for _, op := range []struct {
		name string
		n    uint64
	}{
		{"read", n.Reads.Calls()}, {"write", n.Writes.Calls()}, {"splice_read", n.SpliceReads}, {"splice_write", n.SpliceWrites},
		{"copy_range", n.CopyRanges}, {"open", n.Opens}, {"mmap", n.Mmaps}, {"fault", n.Faults}, {"create", n.Creates}, {"remove", n.Removes}, {"whiteout", n.Whiteouts},
	} {
		row.Set(ofOps, float64(op.n), op.name)
	}
	row.Set(ofQueued, float64(n.Queued))
	row.Set(ofCopyUps, float64(n.DataCopyUps), "data")
	row.Set(ofCopyUps, float64(n.MetaCopyUps), "metadata")
	row.Set(ofCopyUps, float64(n.OtherCopy), "other")
	row.Set(ofCopied, float64(n.CopyUpBytes))
	distribution(row, ofReadTime, &n.Reads)
	distribution(row, ofWriteTime, &n.Writes)
	distribution(row, ofCopyTime, &n.CopyUps)
}

// bounds are the buckets' upper ends, in seconds.
var bounds = func() (all []float64) {
	for i := range bpf.Buckets - 1 {
		all = append(all, bpf.BucketBound(i).Seconds())
	}
	return all
}()

// distribution sends nothing while nothing was timed: it has 15 series.
func distribution(row series.Row, f *series.Family, h *bpf.Histogram) {
	if h.Timed() == 0 {
		return
	}
	counts, sum := make([]uint64, len(bounds)), uint64(0)
	for i := range counts {
		sum += h.Bucket[i]
		counts[i] = sum
	}
	row.Distribution(f, bounds, counts, h.Timed(), h.Sum.Seconds())
}
