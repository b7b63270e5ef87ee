package overlay

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Other is the nested label of what has no series of its own.
const Other = "_other"

var labels = []string{"namespace", "pod", "container", "nested", "level", "depth", "driver"}

func desc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("eyas_overlay_"+name, help, append(append([]string{}, labels...), more...), nil)
}

func rootDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("eyas_overlay_"+name, help, labels[:5], nil)
}

var (
	descRead = desc("read_bytes_total", "Bytes the container read through the layered file system, by way: read, splice (before 6.5 a read). "+
		"A read of an overlay upon an overlay counts at each depth: never add up depths.", "way")
	descWritten = desc("write_bytes_total", "Bytes the container wrote through the layered file system, by way: write, splice, copy_range.", "way")
	descOps     = desc("operations_total", "Calls that succeeded. whiteout: removals that had to hide a file of a lower layer. "+
		"mmap: what a mapping reads and writes afterwards is not seen.", "operation")
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
			emit(ch, []string{"", "", s.container, s.nested, strconv.Itoa(s.level), strconv.Itoa(int(depth)), "overlay"}, &n)
		}
	}
	for id, box := range c.slots {
		if box.others {
			ch <- prometheus.MustNewConstMetric(descFolded, prometheus.GaugeValue, float64(len(box.folded)), "", "", id)
		}
	}
}

// series is one container's, or one remainder's, numbers.
type series struct {
	container, nested string
	level             int
	numbers           totals
}

// sandbox is what must stay the same from scrape to scrape for one outermost
// container: who has series, and what those without have added up to.
type sandbox struct {
	own     map[string]bool
	folded  map[string]totals // by container
	retired totals            // of folded ones that are gone
	others  bool              // there is, or was, a remainder
}

func (c *Collector) gather(rows map[bpf.OverlayKey]bpf.Overlay) (out []*series) {
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		all := c.totals(t, rows)
		c.retire(t)
		for _, x := range t.Containers() {
			n, outer := all[x.ID], x.Outer()
			switch {
			case n == nil: // no I/O, no series
			case x == outer:
				out = append(out, &series{container: x.ID, level: x.Level, numbers: n})
			case c.hasOwn(x, outer):
				out = append(out, &series{container: outer.ID, nested: x.ID, level: x.Level, numbers: n})
			default:
				box := c.slots[outer.ID]
				box.folded[x.ID], box.others = n, true
			}
		}
	})
	for id, box := range c.slots {
		if !box.others {
			continue
		}
		o := &series{container: id, nested: Other, level: 2, numbers: totals{}}
		o.numbers.add(box.retired)
		for _, n := range box.folded {
			o.numbers.add(n)
		}
		out = append(out, o)
	}
	return out
}

// retire frees the slots of containers that are gone. What folded ones counted
// stays in the remainder.
func (c *Collector) retire(t *identity.Table) {
	for outer, box := range c.slots {
		if t.Container(outer) == nil {
			delete(c.slots, outer)
			continue
		}
		for id := range box.own {
			if t.Container(id) == nil {
				delete(box.own, id)
			}
		}
		for id, n := range box.folded {
			if t.Container(id) == nil {
				box.retired.add(n)
				delete(box.folded, id)
			}
		}
	}
}

// hasOwn reports whether a nested container has series of its own. Once decided
// it stays: a counter that moved would seem to be reset.
func (c *Collector) hasOwn(x, outer *identity.Container) bool {
	box := c.slots[outer.ID]
	if box == nil {
		box = &sandbox{own: map[string]bool{}, folded: map[string]totals{}, retired: totals{}}
		c.slots[outer.ID] = box
	}
	if _, folded := box.folded[x.ID]; !folded && len(box.own) < c.o.MaxNested {
		box.own[x.ID] = true
	}
	return box.own[x.ID]
}

func (c *Collector) emitRoot(ch chan<- prometheus.Metric, s *series) {
	id := s.nested
	if id == "" {
		id = s.container
	}
	r, ok := c.roots[id] // never of a remainder: that is no container's id
	if !ok {
		return
	}
	l := []string{"", "", s.container, s.nested, strconv.Itoa(s.level)}
	for d, v := range map[*prometheus.Desc]float64{
		descAvailable: float64(r.available), descSize: float64(r.size), descLayers: float64(r.layers),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, l...)
	}
}

func emit(ch chan<- prometheus.Metric, l []string, n *bpf.Overlay) {
	counter := func(d *prometheus.Desc, v uint64, more ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append(append([]string{}, l...), more...)...)
	}
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
		{"copy_range", n.CopyRanges}, {"open", n.Opens}, {"mmap", n.Mmaps}, {"create", n.Creates}, {"remove", n.Removes}, {"whiteout", n.Whiteouts},
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
