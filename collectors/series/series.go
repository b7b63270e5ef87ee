// Package series is how collectors tell of many containers: to a Prometheus
// registry, or straight as text, at a small part of the cost.
//
// What enters: values, with the labels of a container and their own. What leaves:
// metrics of client_golang, or lines of the text format, of the same series. It
// keeps nothing of them.
package series

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Family is series of one name.
type Family struct {
	desc *prometheus.Desc
	name string
	kind string // as the text format has it
	typ  prometheus.ValueType
	more []string // labels that come after those of a row
	head string   // lines of help and type
}

func family(name, help, kind string, typ prometheus.ValueType, row, more []string) *Family {
	return &Family{
		desc: prometheus.NewDesc(name, help, append(append([]string{}, row...), more...), nil),
		name: name, kind: kind, typ: typ, more: more,
		head: "# HELP " + name + " " + strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help) + "\n# TYPE " + name + " " + kind + "\n",
	}
}

// Gauge returns a family whose series have the labels of a row, and more.
func Gauge(name, help string, row []string, more ...string) *Family {
	return family(name, help, "gauge", prometheus.GaugeValue, row, more)
}

// Counter returns a family likewise; its name ends with _total.
func Counter(name, help string, row []string, more ...string) *Family {
	return family(name, help, "counter", prometheus.CounterValue, row, more)
}

// Histogram returns a family likewise.
func Histogram(name, help string, row []string) *Family {
	return family(name, help, "histogram", 0, row, nil)
}

// Desc is for Describe methods of collectors, and for NewInvalidMetric.
func (f *Family) Desc() *prometheus.Desc { return f.desc }

// Writer takes series. Not safe for concurrent use.
type Writer interface {
	// Row begins series that have labels in common: names, which are the first ones
	// of their families, and a value for each.
	Row(names []string, values ...string) Row
	// Invalid says why a family is missing.
	Invalid(f *Family, err error)
}

// Row takes the series of one container, or of a remainder.
type Row interface {
	// Set tells a value; more are those of the family's other labels, in order.
	Set(f *Family, v float64, more ...string)
	// Distribution tells a histogram: how many were at most as large as each of
	// bounds, how many there were, and their sum.
	Distribution(f *Family, bounds []float64, counts []uint64, count uint64, sum float64)
}

// To returns a Writer for a collector's Collect method.
func To(ch chan<- prometheus.Metric) Writer { return channel{ch} }

type channel struct{ ch chan<- prometheus.Metric }

func (c channel) Row(_ []string, values ...string) Row { return metrics{c.ch, values} }

func (c channel) Invalid(f *Family, err error) { c.ch <- prometheus.NewInvalidMetric(f.desc, err) }

type metrics struct {
	ch     chan<- prometheus.Metric
	values []string
}

func (m metrics) Set(f *Family, v float64, more ...string) {
	m.ch <- prometheus.MustNewConstMetric(f.desc, f.typ, v, append(m.values[:len(m.values):len(m.values)], more...)...)
}

func (m metrics) Distribution(f *Family, bounds []float64, counts []uint64, count uint64, sum float64) {
	buckets := make(map[float64]uint64, len(bounds))
	for i, b := range bounds {
		buckets[b] = counts[i]
	}
	m.ch <- prometheus.MustNewConstHistogram(f.desc, count, sum, buckets, m.values...)
}
