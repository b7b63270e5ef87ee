//go:build host

package dashboards

import (
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/eyas-agent/eyas/agent/daemon"
)

// checkReference holds what an agent serves against what the reference says.
func checkReference(t *testing.T, served map[string]*dto.MetricFamily) {
	t.Helper()
	all, err := daemon.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]daemon.Metric{}
	for _, f := range all {
		for _, m := range f.Metrics {
			known[m.Name] = m
		}
	}
	for name, f := range served {
		m, ok := known[name]
		if kind := strings.ToLower(f.GetType().String()); !strings.HasPrefix(name, "eyas_") {
			continue
		} else if !ok || m.Type != kind || m.Help != f.GetHelp() {
			t.Errorf("%s is served as a %s (%s), and docs/metrics.md says %+v", name, kind, f.GetHelp(), m)
		}
		labels := []string{}
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		if want := slices.Sorted(slices.Values(m.Labels)); !slices.Equal(labels, want) {
			t.Errorf("%s has labels %v, and docs/metrics.md says %v", name, labels, want)
		}
	}
}
