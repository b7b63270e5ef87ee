package otlp

import (
	"github.com/prometheus/client_golang/prometheus"
)

var (
	descUp = prometheus.NewDesc("eyas_otlp_up",
		"Whether the receiver took the last log lines: 0 while they wait, or are refused.", nil, nil)
	descPutRecords = prometheus.NewDesc("eyas_otlp_put_records_total",
		"Log lines to send, also those that an earlier run left on disk: the sum of what is sent, dropped and queued.", nil, nil)
	descPutBytes = prometheus.NewDesc("eyas_otlp_put_bytes_total",
		"The same in bytes: what lines take in memory if they share nothing.", nil, nil)
	descQueuedRecords = prometheus.NewDesc("eyas_otlp_queued_records",
		"Log lines that wait, or are under way.", []string{"where"}, nil)
	descQueuedBytes = prometheus.NewDesc("eyas_otlp_queued_bytes",
		"The same in bytes. Compressed, they are fewer on disk.", []string{"where"}, nil)
	descSentRecords = prometheus.NewDesc("eyas_otlp_sent_records_total",
		"Log lines that the receiver took.", nil, nil)
	descSentBytes = prometheus.NewDesc("eyas_otlp_sent_bytes_total",
		"The same in bytes.", nil, nil)
	descDroppedRecords = prometheus.NewDesc("eyas_otlp_dropped_records_total",
		"Log lines dropped, by why: the queue in memory or on disk was full, the disk failed, the receiver rejected them, they were tried for too long, or they were left at the end.", []string{"reason"}, nil)
	descDroppedBytes = prometheus.NewDesc("eyas_otlp_dropped_bytes_total",
		"The same in bytes.", []string{"reason"}, nil)
	descRetries = prometheus.NewDesc("eyas_otlp_retries_total",
		"Attempts to send log lines that failed in a way that may pass.", nil, nil)
	descSuccess = prometheus.NewDesc("eyas_otlp_last_success_timestamp_seconds",
		"When the receiver last took all lines of a batch; missing until it does.", nil, nil)
	descDisk = prometheus.NewDesc("eyas_otlp_disk_used_bytes",
		"What the queue on disk takes, of the file's size; missing without one.", nil, nil)
)

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descUp, descPutRecords, descPutBytes, descQueuedRecords, descQueuedBytes, descSentRecords, descSentBytes,
		descDroppedRecords, descDroppedBytes, descRetries, descSuccess, descDisk,
	} {
		ch <- d
	}
}

// Stats returns the account at one moment.
func (e *Exporter) Stats() Stats { return e.q.stats() }

// Collect implements prometheus.Collector. The counts are of one moment.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	e.mu.Lock()
	state, retries, success := e.state, e.retries, e.success
	e.mu.Unlock()
	s := e.Stats()

	put := func(d *prometheus.Desc, t prometheus.ValueType, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, float64(v), labels...)
	}
	isUp := int64(0)
	if state == up {
		isUp = 1
	}
	put(descUp, prometheus.GaugeValue, isUp)
	put(descPutRecords, prometheus.CounterValue, s.Put.Records)
	put(descPutBytes, prometheus.CounterValue, s.Put.Bytes)
	put(descQueuedRecords, prometheus.GaugeValue, s.Memory.Records, "memory")
	put(descQueuedBytes, prometheus.GaugeValue, s.Memory.Bytes, "memory")
	if e.disk != nil {
		put(descQueuedRecords, prometheus.GaugeValue, s.Disk.Records, "disk")
		put(descQueuedBytes, prometheus.GaugeValue, s.Disk.Bytes, "disk")
		put(descDisk, prometheus.GaugeValue, e.disk.used.Load())
	}
	put(descSentRecords, prometheus.CounterValue, s.Sent.Records)
	put(descSentBytes, prometheus.CounterValue, s.Sent.Bytes)
	for _, why := range drops() {
		put(descDroppedRecords, prometheus.CounterValue, s.Dropped[why].Records, string(why))
		put(descDroppedBytes, prometheus.CounterValue, s.Dropped[why].Bytes, string(why))
	}
	put(descRetries, prometheus.CounterValue, int64(retries))
	if !success.IsZero() {
		ch <- prometheus.MustNewConstMetric(descSuccess, prometheus.GaugeValue, float64(success.UnixMilli())/1000)
	}
}
