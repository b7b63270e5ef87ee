package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	promcollectors "github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/agent/kube"
	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/denials"
	"github.com/eyas-agent/eyas/collectors/logs"
	"github.com/eyas-agent/eyas/collectors/oom"
	"github.com/eyas-agent/eyas/collectors/overlay"
	"github.com/eyas-agent/eyas/collectors/processes"
	"github.com/eyas-agent/eyas/collectors/self"
	"github.com/eyas-agent/eyas/collectors/vfs"
	"github.com/eyas-agent/eyas/exporter/otlp"
)

// Metric is a family of series that an agent declares.
type Metric struct {
	Name, Help string
	Type       string // counter, gauge, histogram or summary
	Labels     []string
}

// Family is what one collector tells, under the title that the reference has for it.
type Family struct {
	Title   string
	Metrics []Metric // by name
}

// described are the collectors that Run may register, made only to be asked what
// they declare: a Describe method needs nothing of a running agent.
func described() ([]struct {
	title string
	c     prometheus.Collector
}, error) {
	plugin, err := nri.New(nri.Options{})
	if err != nil {
		return nil, err
	}
	return []struct {
		title string
		c     prometheus.Collector
	}{
		{"Processes of containers", &processes.Collector{}},
		{"Cgroups of containers", &cgroups.Collector{}},
		{"Overlays", &overlay.Collector{}},
		{"Plain directories (vfs storage)", &vfs.Collector{}},
		{"Denials", &denials.Collector{}},
		{"Logs", &logs.Collector{}},
		{"Logs to a file", &logs.JSONLines{}},
		{"Logs to an OpenTelemetry receiver", &otlp.Exporter{}},
		{"OOM kills", oom.New(oom.Options{})},
		{"Ids and leases", &prepare.Preparer{}},
		{"Container runtime", plugin},
		{"Kubernetes", &kube.Kube{}},
		{"Boundary of cgroups", &nsdelegate{}},
		{"Checks of the node", &doctor.Collector{}},
		{"The agent itself", &self.Collector{}},
		{"Go", promcollectors.NewGoCollector()},
		{"Process of the agent", promcollectors.NewProcessCollector(promcollectors.ProcessCollectorOpts{})},
	}, nil
}

// Metrics returns all that an agent may serve. An error is a programming mistake.
func Metrics() (all []Family, err error) {
	collectors, err := described()
	if err != nil {
		return nil, err
	}
	for _, d := range collectors {
		f := Family{Title: d.title}
		ch := make(chan *prometheus.Desc)
		go func() { d.c.Describe(ch); close(ch) }()
		for desc := range ch {
			m, e := parseDesc(desc.String())
			if e != nil {
				err = e // and empty the channel
			}
			f.Metrics = append(f.Metrics, m)
		}
		slices.SortFunc(f.Metrics, func(a, b Metric) int { return cmp.Compare(a.Name, b.Name) })
		all = append(all, f)
	}
	return all, err
}

// parseDesc reads what the library prints of a Desc, which has no other way to be asked:
// Desc{fqName: "a", help: "b", unit: "", constLabels: {}, variableLabels: {c,d}}.
func parseDesc(s string) (m Metric, err error) {
	bad := fmt.Errorf("read description %s: not in the form expected", s)
	rest, ok := strings.CutPrefix(s, "Desc{fqName: ")
	if !ok {
		return m, bad
	}
	for _, x := range []struct {
		to   *string
		then string
	}{{&m.Name, ", help: "}, {&m.Help, ", unit: "}, {new(string), ", constLabels: {"}} {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return m, bad
		}
		if *x.to, err = strconv.Unquote(quoted); err != nil {
			return m, bad
		}
		if rest, ok = strings.CutPrefix(rest[len(quoted):], x.then); !ok {
			return m, bad
		}
	}
	_, rest, found := strings.Cut(rest, "}, variableLabels: {")
	labels, ok := strings.CutSuffix(rest, "}}")
	if !found || !ok {
		return m, bad
	}
	if labels != "" {
		m.Labels = strings.Split(labels, ",")
	}
	m.Type = typeOf(m.Name)
	return m, nil
}

// typeOf follows from the name: a Desc does not tell. Tests hold it against what a
// running agent serves.
func typeOf(name string) string {
	switch name {
	case "eyas_nri_request_seconds", "eyas_overlay_read_seconds", "eyas_overlay_write_seconds", "eyas_overlay_copy_up_seconds":
		return "histogram"
	case "go_gc_duration_seconds":
		return "summary"
	}
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}
