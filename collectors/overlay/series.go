package overlay

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
)

var labels = []string{"namespace", "pod", "container", "nested", "level", "depth", "driver"}

func desc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("eyas_overlay_"+name, help, append(append([]string{}, labels...), more...), nil)
}

func rootDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("eyas_overlay_"+name, help, labels[:5], nil)
}

var (
	descRead = desc("read_bytes_total", "Bytes the container read through the layered file system, by way: read, splice (before 6.5 a read). "+
		"A read of an overlay upon an overlay counts at each depth: never add up depths. Depth 0 is fuse-overlayfs, by driver.", "way")
	descWritten = desc("write_bytes_total", "Bytes the container wrote through the layered file system, by way: write, splice, copy_range.", "way")
	descOps     = desc("operations_total", "Calls that succeeded. whiteout: removals that had to hide a file of a lower layer. "+
		"fault: pages that a mapping asked the file system for; what it reads and writes then is not seen.", "operation")
	descQueued    = desc("queued_total", "Reads and writes that went on asynchronously: their bytes are not known.")
	descCopyUps   = desc("copy_ups_total", "Copies from a lower layer to the upper one: data (a file with its content), metadata (without: metacopy, empty or about to be truncated), other (directories, links, devices).", "kind")
	descCopied    = desc("copy_up_bytes_total", "Lengths of the files that were copied up with their content.")
	descReadTime  = desc("read_seconds", "Time that reads took.")
	descWriteTime = desc("write_seconds", "Time that writes took.")
	descCopyTime  = desc("copy_up_seconds", "Time that copy-ups took, while the caller waited.")
	descAvailable = rootDesc("upper_available_bytes", "Space left for the container's writes: in the file system below the upper layer of its root.")
	descSize      = rootDesc("upper_size_bytes", "Size of that file system.")
	descLayers    = rootDesc("lower_layers", "Lower layers of the overlay that is the container's root.")
	descFolded    = prometheus.NewDesc("eyas_overlay_nested_folded",
		"Nested containers without overlay series of their own, added up as nested=\"_other\".",
		[]string{"namespace", "pod", "container"}, nil)
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRead, descWritten, descOps, descQueued, descCopyUps, descCopied, descReadTime, descWriteTime, descCopyTime, descFolded,
		descAvailable, descSize, descLayers,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, err := c.o.Source.Rows()
	if err != nil {
		// Counters then have no value: 0 would look like a reset.
		ch <- prometheus.NewInvalidMetric(descRead, err)
		return
	}
	for _, s := range c.gather(rows) {
		c.emitRoot(ch, s)
		for depth, n := range s.numbers {
			if depth == fuseDepth {
				emitFuse(ch, s.labels.With(s.nested, strconv.Itoa(s.level), "0", "fuse-overlayfs"), &n)
				continue
			}
			emit(ch, s.labels.With(s.nested, strconv.Itoa(s.level), strconv.Itoa(int(depth)), "overlay"), &n)
		}
		if s.folded != nil {
			ch <- prometheus.MustNewConstMetric(descFolded, prometheus.GaugeValue, float64(*s.folded), s.labels.With()...)
		}
	}
}

// series is one container's, or one remainder's, numbers.
type series struct {
	id      string // of the container; "": a remainder
	labels  identity.PodLabels
	nested  string
	level   int
	folded  *int // of a remainder
	numbers totals
}

func (c *Collector) gather(rows map[bpf.OverlayKey]bpf.Overlay) (out []*series) {
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		all := c.fold(t, rows)
		for _, x := range t.Containers() {
			n, outer := all[x.ID], x.Outer()
			switch {
			case n == nil: // no I/O, no series
			case x == outer:
				out = append(out, &series{id: x.ID, labels: t.PodLabels(x.ID), level: x.Level, numbers: n})
			case c.nested.Own(outer.ID, x.ID):
				out = append(out, &series{id: x.ID, labels: t.PodLabels(outer.ID), nested: x.ID, level: x.Level, numbers: n})
			}
		}
		for id, r := range c.nested.Remainders() {
			out = append(out, &series{labels: t.PodLabels(id), nested: fold.Other, level: 2, folded: &r.Folded, numbers: r.Sum})
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

func (c *Collector) emitRoot(ch chan<- prometheus.Metric, s *series) {
	r, ok := c.roots[s.id]
	if !ok {
		return
	}
	l := s.labels.With(s.nested, strconv.Itoa(s.level))
	for d, v := range map[*prometheus.Desc]float64{
		descAvailable: float64(r.available), descSize: float64(r.size), descLayers: float64(r.layers),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, l...)
	}
}

// fuseDepth is no depth: it is where the numbers of fuse-overlayfs are.
const fuseDepth = 0

// emitFuse sends what the kernel sees of fuse-overlayfs, which is not what it copies up.
func emitFuse(ch chan<- prometheus.Metric, l []string, n *bpf.Overlay) {
	counter := counters(ch, l)
	counter(descRead, n.ReadBytes, "read")
	counter(descRead, n.SpliceReadBytes, "splice")
	counter(descWritten, n.WriteBytes, "write")
	counter(descOps, n.Reads.Calls(), "read")
	counter(descOps, n.Writes.Calls(), "write")
	counter(descOps, n.SpliceReads, "splice_read")
	counter(descOps, n.Opens, "open")
	counter(descOps, n.Mmaps, "mmap")
	counter(descQueued, n.Queued)
	histogram(ch, descReadTime, l, &n.Reads)
	histogram(ch, descWriteTime, l, &n.Writes)
}

// counters returns what sends counters with labels l and more.
func counters(ch chan<- prometheus.Metric, l []string) func(d *prometheus.Desc, v uint64, more ...string) {
	return func(d *prometheus.Desc, v uint64, more ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append(append([]string{}, l...), more...)...)
	}
}

func emit(ch chan<- prometheus.Metric, l []string, n *bpf.Overlay) {
	counter := counters(ch, l)
	counter(descRead, n.ReadBytes, "read")
	counter(descRead, n.SpliceReadBytes, "splice")
	counter(descWritten, n.WriteBytes, "write")
	counter(descWritten, n.SpliceWriteBytes, "splice")
	counter(descWritten, n.CopyRangeBytes, "copy_range")
	for _, op := range []struct {
		name string
		n    uint64
	}{
		{"read", n.Reads.Calls()}, {"write", n.Writes.Calls()}, {"splice_read", n.SpliceReads}, {"splice_write", n.SpliceWrites},
		{"copy_range", n.CopyRanges}, {"open", n.Opens}, {"mmap", n.Mmaps}, {"fault", n.Faults}, {"create", n.Creates}, {"remove", n.Removes}, {"whiteout", n.Whiteouts},
	} {
		counter(descOps, op.n, op.name)
	}
	counter(descQueued, n.Queued)
	counter(descCopyUps, n.DataCopyUps, "data")
	counter(descCopyUps, n.MetaCopyUps, "metadata")
	counter(descCopyUps, n.OtherCopy, "other")
	counter(descCopied, n.CopyUpBytes)
	histogram(ch, descReadTime, l, &n.Reads)
	histogram(ch, descWriteTime, l, &n.Writes)
	histogram(ch, descCopyTime, l, &n.CopyUps)
}

// histogram sends nothing while nothing was timed: it has 15 series.
func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, l []string, h *bpf.Histogram) {
	if h.Timed() == 0 {
		return
	}
	buckets := map[float64]uint64{}
	sum := uint64(0)
	for i := range bpf.Buckets - 1 {
		sum += h.Bucket[i]
		buckets[bpf.BucketBound(i).Seconds()] = sum
	}
	ch <- prometheus.MustNewConstHistogram(d, h.Timed(), h.Sum.Seconds(), buckets, l...)
}
