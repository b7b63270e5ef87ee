package doctor

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Every is the time between two runs of a Collector's checks.
const Every = 10 * time.Minute

// Collector shows the last run of a node's checks. Safe for concurrent use: a
// scrape never waits for a check.
type Collector struct {
	// Told hears the results of each run; nil: nobody does. Set it before Run. It
	// must not block.
	Told func([]Result)

	node  *Node
	last  atomic.Pointer[run]
	again chan struct{} // has one when something is known to have changed
}

type run struct {
	results []Result
	end     time.Time
}

// NewCollector returns a Collector that has nothing to show until Run ran once.
func NewCollector(n *Node) *Collector { return &Collector{node: n, again: make(chan struct{}, 1)} }

// Again has the checks run without waiting for the interval. It never waits.
func (c *Collector) Again() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// Run runs the checks now and every interval, until ctx ends. It leaves out
// those that make namespaces.
func (c *Collector) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		results := c.node.CheckQuietly(ctx)
		if ctx.Err() != nil {
			return nil // its checks were cut off
		}
		c.last.Store(&run{results, time.Now()})
		if c.Told != nil {
			c.Told(results)
		}
		select {
		case <-tick.C:
		case <-c.again:
		case <-ctx.Done():
			return nil
		}
	}
}

var (
	checkDesc = prometheus.NewDesc("eyas_doctor_check", "1 for the state the check is in: ok, warn, fail, unknown, not-applicable. See eyas doctor node.",
		[]string{"check", "state"}, nil)
	lastDesc = prometheus.NewDesc("eyas_doctor_last_run_timestamp_seconds", "Time of the last run of the checks.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- checkDesc
	ch <- lastDesc
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	last := c.last.Load()
	if last == nil {
		return
	}
	for _, r := range last.results {
		for _, s := range states {
			v := 0.0
			if r.State == s {
				v = 1
			}
			ch <- prometheus.MustNewConstMetric(checkDesc, prometheus.GaugeValue, v, r.ID, string(s))
		}
	}
	ch <- prometheus.MustNewConstMetric(lastDesc, prometheus.GaugeValue, float64(last.end.UnixNano())/1e9)
}
