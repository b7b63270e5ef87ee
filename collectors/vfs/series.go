package vfs

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/series"
)

var (
	labels  = []string{"namespace", "pod", "container", "nested", "level"}
	ofBytes = series.Counter("eyas_vfs_bytes_total",
		"Bytes that processes of a container whose root is a plain directory, as vfs storage makes it, read and wrote, by way: read, write (by calls, of any file, pipe "+
			"or socket), disk_read, disk_write (of storage). From /proc/PID/io every few seconds. What a process did counts with whoever waited for it when it has ended; if nobody of its container did, what it did after the last look is missing.",
		labels, "way")
	ofFolded = series.Gauge("eyas_vfs_nested_folded",
		"Nested containers without vfs series of their own, added up as nested=\"_other\".", labels[:3])
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- ofBytes.Desc()
	ch <- ofFolded.Desc()
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) { c.Tell(series.To(ch)) }

// Tell writes what Collect sends.
func (c *Collector) Tell(w series.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		c.fold(t)
		for id, b := range c.totals {
			x := t.Container(id)
			outer := x.Outer()
			switch {
			case x == outer:
				emit(w.Row(labels, t.PodLabels(id).With("", strconv.Itoa(x.Level))...), b)
			case c.nested.Own(outer.ID, id):
				emit(w.Row(labels, t.PodLabels(outer.ID).With(id, strconv.Itoa(x.Level))...), b)
			}
		}
		for id, r := range c.nested.Remainders() {
			l := t.PodLabels(id)
			emit(w.Row(labels, l.With(fold.Other, "2")...), r.Sum)
			w.Row(labels[:3], l.With()...).Set(ofFolded, float64(r.Folded))
		}
	})
}

func emit(row series.Row, b Bytes) {
	for _, x := range [...]struct {
		way string
		n   uint64
	}{{"read", b.Read}, {"write", b.Written}, {"disk_read", b.DiskRead}, {"disk_write", b.DiskWritten}} {
		row.Set(ofBytes, float64(x.n), x.way)
	}
}
