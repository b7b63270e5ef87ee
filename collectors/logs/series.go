package logs

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("eyas_log_"+name, help, labels, nil)
}

var (
	ofContainer = []string{"namespace", "pod", "container", "nested", "level"}

	descLines   = desc("lines_total", "Lines, and parts of long ones, that containers wrote to their standard streams.", ofContainer...)
	descBytes   = desc("bytes_total", "Bytes that containers wrote to their standard streams and eyas took over.", ofContainer...)
	descRecords = desc("dropped_records_total", "Writes to standard streams, or pieces of large ones, that were not taken over: the container wrote more than logs-rate, the ring was full, the kernel skipped a run of the program, or it moved the bytes itself (sendfile, splice). "+
		"Of a file: what could not be read as lines, or was too far behind.", ofContainer...)
	descDropped = desc("dropped_bytes_total", "Bytes of what was not taken over.", ofContainer...)
	descFolded  = desc("nested_folded", "Nested containers without log series of their own, added up as nested=\"_other\".", "namespace", "pod", "container")
	descUnowned = desc("unowned_lines_total", "Lines of containers that were gone before they were known.")
	descSource  = desc("source", "1 for where lines come from: kernel, or the files of runtimes in sandboxes (file).", "source")
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLines, descBytes, descRecords, descDropped, descFolded, descUnowned, descSource} {
		ch <- d
	}
}

// sum is what a container wrote.
type sum struct {
	lines, bytes uint64
	dropped      bpf.LogDrops
}

func (s *sum) add(o sum) {
	s.lines, s.bytes, s.dropped = s.lines+o.lines, s.bytes+o.bytes, plus(s.dropped, o.dropped)
}

// totals are the sums by container. Not safe for concurrent use.
type totals struct {
	sums    map[string]*sum // live ones, and those that ended since the last retire
	nested  *fold.Series[sum]
	unowned uint64
}

func newTotals(most int) totals {
	return totals{sums: map[string]*sum{}, nested: fold.New(most, (*sum).add)}
}

// grew notes that a container wrote more; x is nil if nobody knows it.
func (t *totals) grew(x *identity.Container, n sum) {
	if x == nil {
		t.unowned += n.lines
		return
	}
	s := t.sums[x.ID]
	if s == nil {
		if x.Gone() {
			if outer := x.Outer(); x != outer {
				t.nested.Late(outer.ID, x.ID, n)
			}
			return
		}
		s = &sum{}
		t.sums[x.ID] = s
	}
	s.add(n)
	if outer := x.Outer(); x != outer && !t.nested.Own(outer.ID, x.ID) {
		t.nested.Set(outer.ID, x.ID, *s)
	}
}

// retire gives to the remainders what folded containers that are gone wrote.
func (t *totals) retire(alive func(id string) bool) {
	t.nested.Retire(alive, func(id string) (sum, bool) {
		if s := t.sums[id]; s != nil {
			return *s, true
		}
		return sum{}, false
	})
	for id := range t.sums {
		if !alive(id) {
			delete(t.sums, id)
		}
	}
}

func containerOf(t *identity.Table, b bpf.LogBox) *identity.Container {
	if x := t.ByPIDNS(keyOf(b)); x != nil {
		return x
	}
	return t.Gone(keyOf(b))
}

// grew counts for a container. One that a runtime's file alone tells of is the
// remainder's of its sandbox. The table's lock is held.
func (c *Collector) grew(t *identity.Table, b bpf.LogBox, n sum) {
	x := containerOf(t, b)
	u, unseen := c.unseen(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !unseen {
		c.totals.grew(x, n)
		return
	}
	if around := t.ByPIDNS(u.Parent); around != nil {
		c.totals.nested.Late(around.Outer().ID, u.Name.ID, n)
		return
	}
	c.totals.unowned += n.lines
}

// countLine counts a line. The table's lock is held.
func (c *Collector) countLine(t *identity.Table, b bpf.LogBox) { c.grew(t, b, sum{lines: 1}) }

// missing counts as dropped what was written last in runs that the kernel skipped: no
// write comes that would.
func missing(rows []bpf.LogStream) {
	for i := range rows {
		if r := &rows[i]; r.Missing > 0 {
			r.Dropped = plus(r.Dropped, bpf.LogDrops{Records: 1, Bytes: r.Missing})
			r.Missing = 0
		}
	}
}

// count adds what the rows have more than before.
func (c *Collector) count(all map[bpf.LogBox][]bpf.LogStream) {
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for b, rows := range all {
			x := c.boxes[b]
			if x == nil {
				continue // noted since: the next time
			}
			for _, row := range rows {
				if s := x.streams[row.FD]; s != nil {
					c.grew(t, b, sum{bytes: row.Bytes - s.counted.Bytes, dropped: minus(row.Dropped, s.counted.Dropped)})
					s.counted = row
				}
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.totals.retire(func(id string) bool { return t.Container(id) != nil })
	})
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.o.Table.View(func(t *identity.Table, _ map[string]int) { c.collect(t, ch) })
}

func (c *Collector) collect(t *identity.Table, ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blind != "" || c.way.Via == "" {
		return // no series says more than zeros that are none
	}
	ch <- prometheus.MustNewConstMetric(descSource, prometheus.GaugeValue, 1, string(c.way.Via))
	ch <- prometheus.MustNewConstMetric(descUnowned, prometheus.CounterValue, float64(c.totals.unowned))
	emit := func(outer, nested string, level int, s *sum) {
		for d, v := range map[*prometheus.Desc]uint64{descLines: s.lines, descBytes: s.bytes, descRecords: s.dropped.Records, descDropped: s.dropped.Bytes} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), t.PodLabels(outer).With(nested, strconv.Itoa(level))...)
		}
	}
	for _, x := range t.Containers() {
		s, outer := c.totals.sums[x.ID], x.Outer()
		switch {
		case s == nil: // it wrote nothing, no series
		case x == outer:
			emit(x.ID, "", x.Level, s)
		case c.totals.nested.Own(outer.ID, x.ID):
			emit(outer.ID, x.ID, x.Level, s)
		}
	}
	for id, r := range c.totals.nested.Remainders() {
		emit(id, fold.Other, 2, &r.Sum)
		ch <- prometheus.MustNewConstMetric(descFolded, prometheus.GaugeValue, float64(r.Folded), t.PodLabels(id).With()...)
	}
}
