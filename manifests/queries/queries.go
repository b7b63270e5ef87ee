// Package queries reads what dashboards and alerts ask Prometheus, out of the files
// that are shipped: for the tests that hold them against the agent.
//
// What enters: manifests/dashboards/*.json and manifests/alerts/*.yaml. What leaves:
// queries by where they stand. It touches nothing else.
package queries

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Query is one of Prometheus.
type Query struct {
	Where string // file and title of the panel, or name of the alert
	Expr  string // variables of Grafana are still in it
	Alert bool
}

// Filled puts values in place of Grafana's variables: everything for a choice, and
// a time for ranges.
func (q Query) Filled(span string) string {
	return strings.NewReplacer("$__rate_interval", span, "$__range", span,
		"$cluster", ".*", "$namespace", ".*", "$pod", ".*", "$container", ".*", "$instance", ".*").Replace(q.Expr)
}

// Rule is an alert.
type Rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// Rules reads the alerts of a file of Prometheus' rules.
func Rules(path string) (all []Rule, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Groups []struct{ Rules []Rule }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read rules %s: %w", path, err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all, nil
}

// Load reads all queries below a directory: manifests.
func Load(manifests string) (all []Query, err error) {
	files, err := filepath.Glob(filepath.Join(manifests, "dashboards", "*.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			return nil, fmt.Errorf("read dashboard %s: %w", path, err)
		}
		for _, p := range board.Panels {
			for _, t := range p.Targets {
				all = append(all, Query{Where: filepath.Base(path) + ": " + p.Title, Expr: t.Expr})
			}
		}
	}
	rules, err := Rules(filepath.Join(manifests, "alerts", "eyas.rules.yaml"))
	for _, r := range rules {
		all = append(all, Query{Where: r.Alert, Expr: r.Expr, Alert: true})
	}
	return all, err
}
