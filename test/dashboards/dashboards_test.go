//go:build host

package dashboards

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/eyas-agent/eyas/manifests/queries"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests start an agent, which loads BPF programs, and need root")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// machine is what the kernel gives here.
type machine struct {
	workload
	hooks map[string]string // state by name
}

// excuses are all reasons why a query may rightly have no data: a part of it, and
// whether the reason holds on this machine. Where it does not, data must be there.
var excuses = []struct {
	part, why string
	holds     func(machine) bool
}{
	{"eyas_overlay_", "the kernel refuses programs on overlay", refused("overlay_read")},
	{"eyas_denials_", "the kernel refuses programs on system calls", refused("denials_capable")},
	{"eyas_log_lines", "the kernel refuses programs on writes", refused("logs_write")},
	{"eyas_log_bytes", "the kernel refuses programs on writes", refused("logs_write")},
	{"eyas_log_dropped", "the kernel refuses programs on writes", refused("logs_write")},
	{"eyas_container_pids_", "cgroup2 has no pids controller", lacks("pids")},
	{"eyas_container_memory_", "cgroup2 has no memory controller", lacks("memory")},
	{`limit="node"`, "the test does not let the node run out of memory", always},
	{"eyas_oom_kills_total", "cgroup2 has no memory controller", lacks("memory")},
	{"eyas_container_cpu_", "cgroup2 has no cpu controller", lacks("cpu")},
	{"eyas_container_pressure_", "cgroup2 has no memory controller, and pressure is of what has one", lacks("memory")},
	{"eyas_nri_request", "there is no container runtime in this test; test/starts has one", always},
}

func always(machine) bool { return true }

func refused(hook string) func(machine) bool {
	return func(m machine) bool { return m.hooks[hook] == "missing" }
}

func lacks(controller string) func(machine) bool {
	return func(m machine) bool { return !m.has(controller) }
}

func excuse(m machine, query string) string {
	for _, x := range excuses {
		if strings.Contains(query, x.part) && x.holds(m) {
			return x.why
		}
	}
	return ""
}

// inputs are what a query is of, without what filters it: an alert that does not
// fire has no data, and those must.
func inputs(e parser.Expr) []string {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return inputs(e.Expr)
	case *parser.BinaryExpr:
		switch {
		case e.Op.IsSetOperator():
			return append(inputs(e.LHS), inputs(e.RHS)...)
		case e.Op.IsComparisonOperator() && e.RHS.Type() == parser.ValueTypeScalar:
			return inputs(e.LHS)
		}
	}
	return []string{strip(e).String()}
}

func strip(e parser.Expr) parser.Expr {
	switch e := e.(type) {
	case *parser.ParenExpr:
		e.Expr = strip(e.Expr)
	case *parser.AggregateExpr:
		e.Expr = strip(e.Expr)
	case *parser.Call:
		for i := range e.Args {
			e.Args[i] = strip(e.Args[i])
		}
	case *parser.VectorSelector:
		e.OriginalOffset = 0 // this Prometheus is young
	case *parser.BinaryExpr:
		if e.Op.IsComparisonOperator() && e.RHS.Type() == parser.ValueTypeScalar {
			return strip(e.LHS)
		}
		e.LHS, e.RHS = strip(e.LHS), strip(e.RHS)
	}
	return e
}

func families(t *testing.T, listen string) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get("http://" + listen + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	f, err := p.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func hooks(f map[string]*dto.MetricFamily) map[string]string {
	all := map[string]string{}
	for _, m := range f["eyas_hook_state"].GetMetric() {
		l := map[string]string{}
		for _, x := range m.Label {
			l[x.GetName()] = x.GetValue()
		}
		if m.Gauge.GetValue() == 1 {
			all[l["hook"]] = l["state"]
		}
	}
	return all
}

func TestQueriesHaveData(t *testing.T) {
	agent, listen := newAgent(t)
	p := newPrometheus(t, listen)
	m := machine{workload: newWorkload(t), hooks: hooks(families(t, listen))}
	all, err := queries.Load("../../manifests")
	if err != nil {
		t.Fatal(err)
	}
	pending := map[string][]string{} // where, by what is asked
	for _, q := range all {
		e, err := parser.NewParser(parser.Options{}).ParseExpr(q.Filled("1m"))
		if err != nil {
			t.Fatalf("%s: %v", q.Where, err)
		}
		for _, in := range inputs(e) {
			pending[in] = append(pending[in], q.Where)
		}
	}
	asked := len(pending)
	empty := map[string]string{} // why, by what is asked
	for q, where := range pending {
		if why := excuse(m, q); why != "" {
			empty[q] = fmt.Sprintf("%s: %s", strings.Join(where, ", "), why)
			delete(pending, q)
		}
	}
	if len(pending) < 60 {
		t.Errorf("%d of %d queries are to have data", len(pending), asked)
	}
	until(t, 3*time.Minute, agent.done, func() error {
		var lacking []error
		for q, where := range pending {
			n, err := p.ask(q)
			switch {
			case err != nil:
				t.Fatalf("%v: %s: %v", where, q, err)
			case n > 0:
				delete(pending, q)
			default:
				lacking = append(lacking, fmt.Errorf("%v has no data: %s", where, q))
			}
		}
		return errors.Join(lacking...)
	})
	var told []string
	for q, why := range empty {
		if n, err := p.ask(q); err != nil {
			t.Errorf("%s: %v", q, err)
		} else if n == 0 {
			told = append(told, why)
		}
	}
	slices.Sort(told)
	t.Logf("%d queries, %d rightly without data:\n%s", asked, len(told), strings.Join(told, "\n"))

	checkReference(t, families(t, listen))

	// What fires does: the agent dies.
	agent.kill()
	rules, err := queries.Rules("../../manifests/alerts/eyas.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	down := rules[slices.IndexFunc(rules, func(r queries.Rule) bool { return r.Alert == "EyasAgentDown" })]
	until(t, time.Minute, p.done, func() error {
		for _, q := range []string{down.Expr, `ALERTS{alertname="EyasAgentDown",alertstate="pending"}`} {
			n, err := p.ask(q)
			if err != nil {
				return err
			}
			if n != 1 {
				return fmt.Errorf("the agent is dead, and %s has %d series", q, n)
			}
		}
		return nil
	})
}
