package dashboards

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/manifests/queries"
)

var update = flag.Bool("update", false, "write the dashboards and prometheusrule.yaml anew")

const rulesFile = "../alerts/eyas.rules.yaml"

// held holds a file against what it is made of, or makes it.
func held(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is stale: run make generate-docs (-source +file):\n%s", path, d)
	}
}

func TestFiles(t *testing.T) {
	for name, board := range All() {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(board); err != nil {
			t.Fatal(err)
		}
		held(t, name, b.Bytes())
	}
}

// TestPrometheusRule: the operator's object has the groups of the plain file.
func TestPrometheusRule(t *testing.T) {
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	_, groups, ok := strings.Cut(string(text), "\ngroups:\n")
	if !ok {
		t.Fatalf("%s has no groups", rulesFile)
	}
	head := "# Made from eyas.rules.yaml: make generate-docs.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: eyas\n  labels:\n    app.kubernetes.io/name: eyas\nspec:\n  groups:\n"
	var b strings.Builder
	b.WriteString(head)
	for l := range strings.Lines(groups) {
		b.WriteString("  " + l)
	}
	held(t, "../alerts/prometheusrule.yaml", []byte(b.String()))
	var object struct{ Spec, Groups any }
	if err := yaml.Unmarshal([]byte(b.String()), &object); err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := yaml.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(plain, object.Spec); d != "" {
		t.Errorf("groups differ (-plain +object):\n%s", d)
	}
}

// declared are the labels of all series, by name: the agent's and what Prometheus adds.
func declared(t *testing.T) map[string][]string {
	t.Helper()
	families, err := daemon.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	target := []string{"job", "instance", "cluster", "__name__"}
	all := map[string][]string{"up": target}
	for _, f := range families {
		for _, m := range f.Metrics {
			labels := slices.Concat(m.Labels, target)
			all[m.Name] = labels
			if m.Type == "histogram" {
				all[m.Name+"_bucket"], all[m.Name+"_sum"], all[m.Name+"_count"] = append(labels, "le"), labels, labels
			}
		}
	}
	return all
}

// TestQueries: each is one that Prometheus understands, of series that the agent has,
// with labels that they have.
func TestQueries(t *testing.T) {
	known := declared(t)
	all, err := queries.Load("..")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("%d queries: most are not found", len(all))
	}
	for _, q := range all {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.Filled("5m"))
		if err != nil {
			t.Errorf("%s: %v: %s", q.Where, err, q.Expr)
			continue
		}
		var may []string // labels of all its series
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				labels, ok := known[v.Name]
				if !ok {
					t.Errorf("%s: the agent has no %s", q.Where, v.Name)
				}
				may = append(may, labels...)
				for _, m := range v.LabelMatchers {
					// Any series has the labels of its target.
					if !slices.Contains(labels, m.Name) {
						t.Errorf("%s: %s has no label %s", q.Where, v.Name, m.Name)
					}
				}
			}
			return nil
		})
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			var names []string
			switch n := n.(type) {
			case *parser.AggregateExpr:
				names = n.Grouping
			case *parser.BinaryExpr:
				if n.VectorMatching != nil {
					names = slices.Concat(n.VectorMatching.MatchingLabels, n.VectorMatching.Include)
				}
			}
			for _, l := range names {
				if !slices.Contains(may, l) {
					t.Errorf("%s: none of its series has the label %s", q.Where, l)
				}
			}
			return nil
		})
	}
}

func TestPanels(t *testing.T) {
	rules, err := queries.Rules(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{}
	for name, board := range All() {
		at := map[[2]int]string{}
		for _, x := range board["panels"].([]any) {
			p := x.(map[string]any)
			title := name + ": " + p["title"].(string)
			kind := p["type"].(string)
			if !slices.Contains([]string{"timeseries", "stat", "bargauge", "table", "text", "row"}, kind) {
				t.Errorf("%s is a %s", title, kind)
			}
			if kind != "row" && (p["description"] == "" || !strings.HasSuffix(p["description"].(string), ".")) {
				t.Errorf("%s does not say what it shows", title)
			}
			g := p["gridPos"].(map[string]any)
			for dx := range g["w"].(int) {
				for dy := range g["h"].(int) {
					cell := [2]int{g["x"].(int) + dx, g["y"].(int) + dy}
					if other := at[cell]; other != "" || cell[0] > 23 {
						t.Fatalf("%s lies over %q, or beyond the page, at %v", title, other, cell)
					}
					at[cell] = title
				}
			}
			links, _ := p["links"].([]any)
			for _, l := range links {
				alert := strings.TrimPrefix(l.(map[string]any)["title"].(string), "Runbook: ")
				linked[alert] = true
				if !slices.ContainsFunc(rules, func(r queries.Rule) bool { return r.Alert == alert }) {
					t.Errorf("%s links to the runbook of %s, which is no alert", title, alert)
				}
			}
		}
	}
	if len(linked) < 15 {
		t.Errorf("panels link to %d runbooks", len(linked))
	}
}

// TestAlerts: each has what is needed to act on it, and a test.
func TestAlerts(t *testing.T) {
	rules, err := queries.Rules(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../alerts/eyas.rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]bool{"README.md": true}
	for _, r := range rules {
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Annotations["runbook_url"] != Runbooks+r.Alert+".md" {
			t.Errorf("%s: annotations %v", r.Alert, r.Annotations)
		}
		pages[r.Alert+".md"] = true
		page, err := os.ReadFile(filepath.Join("../../docs/runbooks", r.Alert+".md"))
		if err != nil || !bytes.HasPrefix(page, []byte("# "+r.Alert+"\n\n*"+r.Labels["severity"]+"* ")) {
			t.Errorf("%s: its page: %v, %.60q", r.Alert, err, page)
		}
		if !bytes.Contains(tests, []byte(`alertname="`+r.Alert+`"`)) {
			t.Errorf("%s has no test", r.Alert)
		}
	}
	files, err := os.ReadDir("../../docs/runbooks")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !pages[f.Name()] {
			t.Errorf("docs/runbooks/%s is of no alert", f.Name())
		}
	}
}
