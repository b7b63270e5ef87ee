package otlp

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// number is the sum of the series of a metric.
func number(t *testing.T, e *Exporter, name string) (sum float64) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(e)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func TestMetrics(t *testing.T) {
	r := newReceiver(t, GRPC, nil).start(t)
	o := options(r)
	o.DiskDir = t.TempDir()
	e, stop := run(t, o)
	if problems, err := testutil.CollectAndLint(e); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	if n := testutil.CollectAndCount(e, "eyas_otlp_dropped_records_total"); n != len(drops()) {
		t.Errorf("%d reasons: they must be there before the first line is dropped", n)
	}
	if n := testutil.CollectAndCount(e, "eyas_otlp_last_success_timestamp_seconds"); n != 0 {
		t.Error("a success before the first line")
	}
	e.Put(lines("a", "b"))
	stop()
	for name, want := range map[string]float64{
		"eyas_otlp_up": 1, "eyas_otlp_put_records_total": 2, "eyas_otlp_sent_records_total": 2, "eyas_otlp_queued_records": 0,
		"eyas_otlp_queued_bytes": 0, "eyas_otlp_dropped_records_total": 0, "eyas_otlp_dropped_bytes_total": 0, "eyas_otlp_retries_total": 0,
		"eyas_otlp_sent_bytes_total": float64(e.Stats().Put.Bytes), "eyas_otlp_put_bytes_total": float64(e.Stats().Put.Bytes),
	} {
		if got := number(t, e, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if number(t, e, "eyas_otlp_last_success_timestamp_seconds") < 1.7e9 {
		t.Error("no time of the last success")
	}
}
