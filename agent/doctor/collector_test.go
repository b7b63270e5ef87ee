package doctor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestCollector(t *testing.T) {
	n := plant(t, nil)
	c := NewCollector(n)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	if all, err := reg.Gather(); err != nil || len(all) != 0 {
		t.Fatalf("before the first run: %v, %v", all, err)
	}
	c.last.Store(&run{[]Result{{ID: "a", State: Fail}, {ID: "b", State: OK}}, time.Unix(5, 0)})
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(all).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	got := map[string]float64{}
	for _, m := range all[0].GetMetric() {
		got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetGauge().GetValue()
	}
	if len(got) != 10 || got["a fail"] != 1 || got["a ok"] != 0 || got["b ok"] != 1 {
		t.Errorf("%s: got %v", all[0].GetName(), got)
	}
}

// TestCollectorRun: it runs at once, then every interval or when told to, and makes no namespace.
func TestCollectorRun(t *testing.T) {
	for _, r := range plant(t, nil).CheckQuietly(t.Context()) {
		if find(t, nodeChecks(), r.ID).probe {
			t.Errorf("%s was run", r.ID)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		n := NewNode(NodeOptions{Proc: t.TempDir(), Sys: t.TempDir(), Root: t.TempDir()})
		c := NewCollector(n)
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- c.Run(ctx, time.Hour) }()
		<-time.After(time.Minute) // of synctest's clock
		first := c.last.Load()
		<-time.After(time.Hour)
		if second := c.last.Load(); first == nil || second == first {
			t.Errorf("runs: %v, then %v", first, second)
		}
		<-time.After(time.Minute)
		second := c.last.Load()
		c.Again()
		c.Again()
		<-time.After(time.Minute)
		if c.last.Load() == second {
			t.Error("it does not run again when told to")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
