package self

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/collectors/history"
)

type sample struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	value  float64
	labels []string
}

var (
	histBytes    = desc("history_size_bytes", "Size of the history's file.")
	histUsed     = desc("history_used_bytes", "Part of the file that is in use.")
	histBuffered = desc("history_buffered_records", "Records that are not on disk yet.")
	histWritten  = desc("history_written_total", "Records written.")
	histDropped  = desc("history_dropped_total", "Records given up because the disk did not keep up.")
	histFlushes  = desc("history_flushes_total", "Times the buffer was written.")
	histFlush    = desc("history_flush_seconds", "Time the last flush took.")
	histPruned   = desc("history_pruned_total", "Records forgotten, by reason: age, bytes, count.", "reason")
	histUndecod  = desc("history_undecodable_total", "Times a stored value could not be decoded, and was left out of an answer.")
	histDamaged  = desc("history_damaged_total", "Damaged files set aside.")
)

func historySeries(s history.Stats) []sample {
	return []sample{
		{histBytes, prometheus.GaugeValue, float64(s.Bytes), nil},
		{histUsed, prometheus.GaugeValue, float64(s.Used), nil},
		{histBuffered, prometheus.GaugeValue, float64(s.Buffered), nil},
		{histWritten, prometheus.CounterValue, float64(s.Written), nil},
		{histDropped, prometheus.CounterValue, float64(s.Dropped), nil},
		{histFlushes, prometheus.CounterValue, float64(s.Flushes), nil},
		{histFlush, prometheus.GaugeValue, s.FlushTime.Seconds(), nil},
		{histPruned, prometheus.CounterValue, float64(s.PrunedAge), []string{"age"}},
		{histPruned, prometheus.CounterValue, float64(s.PrunedBytes), []string{"bytes"}},
		{histPruned, prometheus.CounterValue, float64(s.PrunedCount), []string{"count"}},
		{histUndecod, prometheus.CounterValue, float64(s.Undecodable), nil},
		{histDamaged, prometheus.CounterValue, float64(s.Damaged), nil},
	}
}
