package vfs

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
)

var (
	descBytes = prometheus.NewDesc("eyas_vfs_bytes_total",
		"Bytes that processes of a container whose root is a plain directory, as vfs storage makes it, read and wrote, by way: read, write (by calls, of any file, pipe "+
			"or socket), disk_read, disk_write (of storage). From /proc/PID/io every few seconds. What a process did counts with whoever waited for it when it has ended; if nobody of its container did, what it did after the last look is missing.",
		[]string{"namespace", "pod", "container", "nested", "level", "way"}, nil)
	descFolded = prometheus.NewDesc("eyas_vfs_nested_folded",
		"Nested containers without vfs series of their own, added up as nested=\"_other\".",
		[]string{"namespace", "pod", "container"}, nil)
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descBytes
	ch <- descFolded
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		c.fold(t)
		for id, b := range c.totals {
			x := t.Container(id)
			outer := x.Outer()
			switch {
			case x == outer:
				emit(ch, t.PodLabels(id).With("", strconv.Itoa(x.Level)), b)
			case c.nested.Own(outer.ID, id):
				emit(ch, t.PodLabels(outer.ID).With(id, strconv.Itoa(x.Level)), b)
			}
		}
		for id, r := range c.nested.Remainders() {
			l := t.PodLabels(id)
			emit(ch, l.With(fold.Other, "2"), r.Sum)
			ch <- prometheus.MustNewConstMetric(descFolded, prometheus.GaugeValue, float64(r.Folded), l.With()...)
		}
	})
}

func emit(ch chan<- prometheus.Metric, l []string, b Bytes) {
	for _, w := range []struct {
		way string
		n   uint64
	}{{"read", b.Read}, {"write", b.Written}, {"disk_read", b.DiskRead}, {"disk_write", b.DiskWritten}} {
		ch <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(w.n), append(append([]string{}, l...), w.way)...)
	}
}
