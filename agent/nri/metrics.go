package nri

import "github.com/prometheus/client_golang/prometheus"

var (
	descConnected  = prometheus.NewDesc("eyas_nri_connected", "1 while the container runtime tells of containers in time (NRI), 0 otherwise.", nil, nil)
	descUnprepared = prometheus.NewDesc("eyas_unprepared_containers", "Containers that are to be sandboxes and are not, or not wholly, prepared.", nil, nil)
)

// requests are the metrics of the runtime's requests.
type requests struct {
	total   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newRequests() *requests {
	return &requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eyas_nri_requests_total", Help: "Requests of the container runtime, by how they were answered.",
		}, []string{"event", "result"}),
		// The runtime gives up after plugin_request_timeout: 2 s, and 5 s with the settings in
		// manifests/runtime. An answer takes three quarters of that at most.
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "eyas_nri_request_seconds", Help: "Time to answer requests of the container runtime.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10},
		}, []string{"event"}),
	}
}

// Describe implements prometheus.Collector.
func (p *Plugin) Describe(ch chan<- *prometheus.Desc) {
	ch <- descConnected
	ch <- descUnprepared
	p.m.total.Describe(ch)
	p.m.seconds.Describe(ch)
}

// Collect implements prometheus.Collector.
func (p *Plugin) Collect(ch chan<- prometheus.Metric) {
	p.mu.Lock()
	connected, unprepared := 0.0, len(p.unprepared)
	if p.connected {
		connected = 1
	}
	p.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descConnected, prometheus.GaugeValue, connected)
	ch <- prometheus.MustNewConstMetric(descUnprepared, prometheus.GaugeValue, float64(unprepared))
	p.m.total.Collect(ch)
	p.m.seconds.Collect(ch)
}
