package logs

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Other is the nested label of what has no series of its own.
const Other = "_other"

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("eyas_log_"+name, help, []string{"namespace", "pod", "container", "nested", "level"}, nil)
}

var (
	descLines   = desc("lines_total", "Lines, and parts of long ones, that containers wrote to their standard streams.")
	descBytes   = desc("bytes_total", "Bytes that containers wrote to their standard streams and eyas took over.")
	descRecords = desc("dropped_records_total", "Writes to standard streams, or pieces of large ones, that were not taken over: the container wrote more than logs-rate, or the ring was full.")
	descDropped = desc("dropped_bytes_total", "Bytes of the writes that were not taken over.")
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLines, descBytes, descRecords, descDropped} {
		ch <- d
	}
}

// slot is what series are of.
type slot struct {
	outer, nested string
	level         int
}

type sum struct {
	lines, bytes uint64
	dropped      bpf.LogDrops
}

// totals are the sums by slot. Who has a slot keeps it: a counter that moved would seem
// to be reset.
type totals struct {
	most  int
	slots map[string]slot // by container
	own   map[string]int  // nested containers with slots of their own, by outermost one
	sums  map[slot]*sum
}

func newTotals(most int) totals {
	return totals{most: most, slots: map[string]slot{}, own: map[string]int{}, sums: map[slot]*sum{}}
}

// of returns the sums that a container's count in; x is nil if nobody knows it.
func (t *totals) of(x *identity.Container) *sum {
	var k slot
	if x != nil {
		known := false
		if k, known = t.slots[x.ID]; !known {
			k = t.assign(x)
			t.slots[x.ID] = k
		}
	}
	s := t.sums[k]
	if s == nil {
		s = &sum{}
		t.sums[k] = s
	}
	return s
}

func (t *totals) assign(x *identity.Container) slot {
	outer := x.Outer()
	switch {
	case x == outer:
		return slot{outer: x.ID, level: x.Level}
	case t.own[outer.ID] < t.most:
		t.own[outer.ID]++
		return slot{outer: outer.ID, nested: x.ID, level: x.Level}
	}
	return slot{outer: outer.ID, nested: Other, level: 2}
}

// retire forgets the series of containers that are gone. The remainder goes with the
// outermost one.
func (t *totals) retire(lives func(id string) bool) {
	for id, k := range t.slots {
		if lives(id) {
			continue
		}
		delete(t.slots, id)
		if k.nested != Other {
			delete(t.sums, k)
		}
		if k.nested == id {
			t.own[k.outer]--
		}
	}
	for k := range t.sums {
		if k.nested == Other && !lives(k.outer) {
			delete(t.sums, k)
		}
	}
	for outer, n := range t.own {
		if n <= 0 {
			delete(t.own, outer)
		}
	}
}

func containerOf(t *identity.Table, b bpf.LogBox) *identity.Container {
	if x := t.ByPIDNS(keyOf(b)); x != nil {
		return x
	}
	return t.Gone(keyOf(b))
}

// countLine counts a line. The table's lock is held.
func (c *Collector) countLine(t *identity.Table, b bpf.LogBox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.of(containerOf(t, b)).lines++
}

// count adds what the kernel's rows have more than before.
func (c *Collector) count(all map[bpf.LogBox][]bpf.LogStream) {
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for b, rows := range all {
			x := c.boxes[b]
			if x == nil {
				continue // noted since: the next time
			}
			to := c.totals.of(containerOf(t, b))
			for _, row := range rows {
				s := x.streams[row.FD]
				if s == nil {
					continue
				}
				to.bytes += row.Bytes - s.counted.Bytes
				to.dropped = plus(to.dropped, minus(row.Dropped, s.counted.Dropped))
				s.counted = row
			}
		}
		c.totals.retire(func(id string) bool { return t.Container(id) != nil })
	})
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	outers := map[string]identity.PodLabels{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) { // its lock is taken before ours
		c.mu.Lock()
		defer c.mu.Unlock()
		for k := range c.totals.sums {
			outers[k.outer] = t.PodLabels(k.outer)
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blind != "" {
		return // no series says more than zeros that are none
	}
	for k, s := range c.totals.sums {
		l, ok := outers[k.outer]
		if !ok {
			continue // it began a moment ago: the next scrape has it
		}
		emit := func(d *prometheus.Desc, v uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), l.With(k.nested, strconv.Itoa(k.level))...)
		}
		emit(descLines, s.lines)
		emit(descBytes, s.bytes)
		emit(descRecords, s.dropped.Records)
		emit(descDropped, s.dropped.Bytes)
	}
}
