//go:build host

package kube

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The operator's definitions of its kinds are made as the operator makes them, by
// controller-gen from the types that it publishes, in the version of go.mod.
const (
	controllerGen = "sigs.k8s.io/controller-tools/cmd/controller-gen@v0.19.0"
	operatorTypes = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// teach gives the API server the kinds of the Prometheus operator that manifests/ uses.
func (c *cluster) teach(t *testing.T) {
	t.Helper()
	dir := c.path("definitions")
	gen := exec.Command("go", "run", controllerGen, "crd", "paths="+operatorTypes, "output:crd:artifacts:config="+dir)
	if out, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("make the operator's definitions: %v\n%s", err, out)
	}
	for _, plural := range []string{"podmonitors", "prometheusrules"} {
		text, err := os.ReadFile(filepath.Join(dir, "monitoring.coreos.com_"+plural+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		c.serverSideApply(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+plural+".monitoring.coreos.com", text)
		c.until(plural+" are served", func() bool {
			code, _ := c.try("GET", "/apis/monitoring.coreos.com/v1/"+plural, nil, nil)
			return code == 200
		})
	}
}

// TestOperator: what the operator would refuse is refused here, so that TestManifests
// can fail.
func TestOperator(t *testing.T) {
	c := newCluster(t)
	c.teach(t)
	const head = "apiVersion: monitoring.coreos.com/v1\nmetadata: {name: eyas}\n"
	for name, tc := range map[string]struct{ plural, text, why string }{
		"unknown field":  {"podmonitors", "kind: PodMonitor\nspec: {selector: {}, podMetricsEndpoint: []}\n", "podMetricsEndpoint"},
		"unknown value":  {"podmonitors", "kind: PodMonitor\nspec: {selector: {}, podMetricsEndpoints: [{scheme: gopher}]}\n", "scheme"},
		"no selector":    {"podmonitors", "kind: PodMonitor\nspec: {podMetricsEndpoints: []}\n", "selector"},
		"no expression":  {"prometheusrules", "kind: PrometheusRule\nspec: {groups: [{name: a, rules: [{alert: B}]}]}\n", "expr"},
		"unknown group":  {"prometheusrules", "kind: PrometheusRule\nspec: {group: []}\n", "group"},
		"no such period": {"prometheusrules", "kind: PrometheusRule\nspec: {groups: [{name: a, rules: [{alert: B, expr: '1', for: soon}]}]}\n", "for"},
	} {
		t.Run(name, func(t *testing.T) {
			code, answer := c.offer(t, "/apis/monitoring.coreos.com/v1/namespaces/default/"+tc.plural+"/eyas", []byte(head+tc.text))
			if code/100 == 2 || !strings.Contains(answer, tc.why) {
				t.Errorf("status %d: %s", code, answer)
			}
		})
	}
}
