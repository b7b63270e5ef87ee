package kube

import "github.com/prometheus/client_golang/prometheus"

var (
	descConnected = prometheus.NewDesc("eyas_kube_connected", "1 while the Kubernetes API server answers, 0 while pods are told as last known.", nil, nil)
	descHeard     = prometheus.NewDesc("eyas_kube_last_heard_timestamp_seconds", "Time at which the API server last told something of pods.", nil, nil)
	descPods      = prometheus.NewDesc("eyas_kube_pods", "Pods of this node that are known.", nil, nil)
	descLeftOut   = prometheus.NewDesc("eyas_kube_pods_left_out", "Pods of this node that there was no room for.", nil, nil)
	descFailures  = prometheus.NewDesc("eyas_kube_failures_total", "Requests that failed, by what they were for.", []string{"request"}, nil)
	descEvents    = prometheus.NewDesc("eyas_kube_events_total",
		"Events by what became of them: sent (with those that only count an earlier one), suppressed (too many of one pod), dropped (the queue was full, or they waited for an hour), refused (by the API server).",
		[]string{"fate"}, nil)
)

// Describe implements prometheus.Collector.
func (k *Kube) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descConnected, descHeard, descPods, descLeftOut, descFailures, descEvents} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (k *Kube) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, n uint64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), label)
	}
	n, leftOut, stale, heard := k.pods.sizes()
	connected := 1.0
	if stale {
		connected = 0
	}
	gauge(descConnected, connected)
	if !heard.IsZero() {
		gauge(descHeard, float64(heard.UnixNano())/1e9)
	}
	gauge(descPods, float64(n))
	gauge(descLeftOut, float64(leftOut))
	counter(descFailures, k.failures.Load(), "pods")
	counter(descFailures, k.state.failed.Load(), "condition")
	for fate, n := range k.events.fates {
		counter(descEvents, n.Load(), fate)
	}
}
