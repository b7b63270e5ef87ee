package nri

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// creations is how many one run of a benchmark makes.
const creations = 200

// BenchmarkCreate is a creation over the runtime's socket without the preparer.
func BenchmarkCreate(b *testing.B) {
	r := newRig(b, func(o *Options) { o.Deadline = time.Second })
	i := 0
	for b.Loop() {
		measure(b, r, &i)
	}
}

// measure makes containers and reports the slowest of a hundred.
func measure(b *testing.B, r *rig, i *int) {
	b.Helper()
	took := make([]time.Duration, creations)
	for j := range took {
		*i++
		p, c := pod("dev"), container(fmt.Sprintf("bench-%d", *i))
		p.Pid = 0
		start := time.Now()
		a, err := r.create(p, c)
		took[j] = time.Since(start)
		if err != nil || len(a.GetMounts()) == 0 {
			b.Fatalf("%v, %v: %s", a, err, r.log)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[creations/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[creations*99/100].Microseconds()), "µs-p99")
	if p99 := took[creations*99/100]; p99 > time.Second {
		b.Errorf("p99 is %s; the runtime gives up after 2 s", p99)
	}
}

// gauge reads one metric without labels.
func gauge(t testing.TB, c prometheus.Collector, name string) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
