package denials

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
)

// samples are the refusals on /metrics, by nested label and cause.
func samples(t *testing.T, c *Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "eyas_denials_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			l := map[string]string{}
			for _, p := range m.GetLabel() {
				l[p.GetName()] = p.GetValue()
			}
			got[l["nested"]+" "+l["cause"]] = m.GetCounter().GetValue()
		}
	}
	return got
}

// What a folded container was refused since the last scrape is not lost with it,
// whenever it is heard of.
func TestGoneBetweenScrapes(t *testing.T) {
	n := newNode()
	n.put(10, 7)
	first := n.put(20, 7, 8)
	n.put(30, 7, 9)
	n.put(40, 7, 11)
	c := n.with(1)
	refuse := func(ns uint32, count uint64) bpf.DenialKey {
		k := key(ns, 1, bpf.DeniedMount, 1, bpf.CauseCapability, 21)
		n.rows[k] = bpf.Denial{Count: count, Time: 1}
		return k
	}
	for _, step := range []struct {
		name string
		do   func()
		want map[string]float64
	}{
		{"one has series", func() { refuse(8, 1) }, map[string]float64{first + " capability": 1}},
		{"one is folded", func() { refuse(9, 10) }, map[string]float64{first + " capability": 1, "_other capability": 10}},
		{"told before it dies", func() { refuse(9, 12); hear(t, c, t0); n.die(30) }, map[string]float64{first + " capability": 1, "_other capability": 12}},
		{"told as it dies", func() { n.put(50, 7, 12); refuse(12, 1); hear(t, c, t0); refuse(12, 5); n.die(50) },
			map[string]float64{first + " capability": 1, "_other capability": 17}},
		{"told long after", func() { hear(t, c, t0.Add(time.Second)); refuse(12, 6) }, map[string]float64{first + " capability": 1, "_other capability": 18}},
		{"born, refused and dead in between", func() { n.put(60, 7, 13); refuse(13, 100); n.die(60) },
			map[string]float64{first + " capability": 1, "_other capability": 118}},
		{"more between the look and the taking", func() {
			k := refuse(11, 1000)
			hear(t, c, t0)
			n.taken[k] = 500
			hear(t, c, t0.Add(2*restAfter))
			n.die(40)
		}, map[string]float64{first + " capability": 1, "_other capability": 1618}},
		{"more of one that is dead", func() { n.taken[refuse(12, 7)] = 2; hear(t, c, t0); hear(t, c, t0.Add(2*restAfter)) },
			map[string]float64{first + " capability": 1, "_other capability": 1621}},
		{"who had series takes them along", func() { n.die(20) }, map[string]float64{"_other capability": 1621}},
	} {
		step.do()
		for range 2 {
			same(t, step.name, step.want, samples(t, c))
		}
	}
	n.die(10)
	same(t, "all end with the outermost", map[string]float64{}, samples(t, c))
	same(t, "and so does what is kept", 0, c.nested.Len())
}

// Without scrapes nothing is kept of the dead either, and where places are free
// who was refused and died has no series.
func TestBoundedWithoutScrapes(t *testing.T) {
	n := newNode()
	n.put(10, 7)
	c := n.with(1)
	for i := uint32(100); i < 200; i++ {
		n.put(i, 7, i)
		n.rows = map[bpf.DenialKey]bpf.Denial{key(i, 1, bpf.DeniedMount, 1, bpf.CauseCapability, 21): {Count: 1, Time: 1}}
		if i%2 == 0 {
			hear(t, c, t0)
		}
		n.die(i)
		hear(t, c, t0)
	}
	same(t, "no series", map[string]float64{}, samples(t, c))
	same(t, "fresh", 0, len(c.fresh))
}
