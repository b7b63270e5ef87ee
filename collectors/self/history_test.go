package self

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eyas-agent/eyas/collectors/history"
)

// stats is a collector of the history's series alone.
type stats history.Stats

func (s stats) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, ch) }

func (s stats) Collect(ch chan<- prometheus.Metric) {
	for _, m := range historySeries(history.Stats(s)) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value, m.labels...)
	}
}

func TestHistorySeries(t *testing.T) {
	c := stats{
		Buffered: 1, Dropped: 2, Written: 3, Flushes: 4, FlushTime: 5 * time.Millisecond, Bytes: 6, Used: 7,
		PrunedAge: 8, PrunedBytes: 9, PrunedCount: 12, Damaged: 10, Undecodable: 11,
	}
	want := `
# HELP eyas_history_buffered_records Records that are not on disk yet.
# TYPE eyas_history_buffered_records gauge
eyas_history_buffered_records 1
# HELP eyas_history_damaged_total Damaged files set aside.
# TYPE eyas_history_damaged_total counter
eyas_history_damaged_total 10
# HELP eyas_history_dropped_total Records given up because the disk did not keep up.
# TYPE eyas_history_dropped_total counter
eyas_history_dropped_total 2
# HELP eyas_history_flush_seconds Time the last flush took.
# TYPE eyas_history_flush_seconds gauge
eyas_history_flush_seconds 0.005
# HELP eyas_history_flushes_total Times the buffer was written.
# TYPE eyas_history_flushes_total counter
eyas_history_flushes_total 4
# HELP eyas_history_pruned_total Records forgotten, by reason: age, bytes, count.
# TYPE eyas_history_pruned_total counter
eyas_history_pruned_total{reason="age"} 8
eyas_history_pruned_total{reason="bytes"} 9
eyas_history_pruned_total{reason="count"} 12
# HELP eyas_history_size_bytes Size of the history's file.
# TYPE eyas_history_size_bytes gauge
eyas_history_size_bytes 6
# HELP eyas_history_undecodable_total Times a stored value could not be decoded, and was left out of an answer.
# TYPE eyas_history_undecodable_total counter
eyas_history_undecodable_total 11
# HELP eyas_history_used_bytes Part of the file that is in use.
# TYPE eyas_history_used_bytes gauge
eyas_history_used_bytes 7
# HELP eyas_history_written_total Records written.
# TYPE eyas_history_written_total counter
eyas_history_written_total 3
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
