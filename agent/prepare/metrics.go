package prepare

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/agent/ledger"
)

var (
	descRanges = prometheus.NewDesc("eyas_subid_ranges", "Blocks of 65536 host ids in the pool, by state.", []string{"state"}, nil)
	descLeases = prometheus.NewDesc("eyas_leases", "Leases on record, by state.", []string{"state"}, nil)
	descBroken = prometheus.NewDesc("eyas_leases_damaged", "Files of leases that could not be read; their ranges stay taken.", nil, nil)
)

// Describe implements prometheus.Collector.
func (p *Preparer) Describe(ch chan<- *prometheus.Desc) {
	ch <- descRanges
	ch <- descLeases
	ch <- descBroken
}

// Collect implements prometheus.Collector.
func (p *Preparer) Collect(ch chan<- prometheus.Metric) {
	p.mu.Lock()
	n := p.pool.Counts(p.o.Now(), nil)
	p.mu.Unlock()
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for state, v := range map[string]int{
		"leased": n.Leased, "releasing": n.Releasing, "quarantined": n.Quarantined,
		"rested": n.Rested, "unused": n.Unused, "blocked": n.Blocked,
	} {
		gauge(descRanges, v, state)
	}
	leases := map[ledger.State]int{ledger.Intent: 0, ledger.Done: 0, ledger.Releasing: 0, ledger.Tombstone: 0}
	for _, l := range p.ledger.List() {
		leases[l.State]++
	}
	for state, v := range leases {
		gauge(descLeases, v, string(state))
	}
	gauge(descBroken, len(p.ledger.Blocked()))
}
