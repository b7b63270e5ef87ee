package manifests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Every overlay keeps /metrics from other pods than those of Prometheus' namespace.
func TestNetworkPolicy(t *testing.T) {
	dirs, err := filepath.Glob("overlays/*")
	if err != nil || len(dirs) < 5 {
		t.Fatalf("overlays: %q, %v", dirs, err)
	}
	for _, dir := range dirs {
		t.Run(dir, func(t *testing.T) {
			all := build(t, dir)
			policies := only[*networkingv1.NetworkPolicy](all)
			if len(policies) != 1 {
				t.Fatalf("%d policies, want one", len(policies))
			}
			p, pod := policies[0], only[*appsv1.DaemonSet](all)[0].Spec.Template
			if p.Namespace != "eyas-system" || !slices.Equal(p.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) {
				t.Errorf("it is of %s, for %v", p.Namespace, p.Spec.PolicyTypes)
			}
			if len(p.Spec.PodSelector.MatchLabels) == 0 {
				t.Error("it selects all pods")
			}
			for k, v := range p.Spec.PodSelector.MatchLabels {
				if pod.Labels[k] != v {
					t.Errorf("it selects %s=%s, the pods have %q", k, v, pod.Labels[k])
				}
			}
			if len(p.Spec.Ingress) != 1 || len(p.Spec.Ingress[0].From) != 1 || len(p.Spec.Ingress[0].Ports) != 1 {
				t.Fatalf("it lets in %v, want one peer to one port", p.Spec.Ingress)
			}
			in := p.Spec.Ingress[0]
			if s := in.From[0].NamespaceSelector; s == nil || s.MatchLabels["kubernetes.io/metadata.name"] == "" {
				t.Errorf("it lets in %v, want a namespace by its name", in.From[0])
			}
			if port := in.Ports[0].Port; port.StrVal != pod.Spec.Containers[0].Ports[0].Name {
				t.Errorf("it lets in to port %s, the container has %s", port.String(), pod.Spec.Containers[0].Ports[0].Name)
			}
		})
	}
}

// The comment of the configuration names every flag that an overlay sets: it wins over
// the file.
func TestFlagsAreTold(t *testing.T) {
	dirs, err := filepath.Glob("overlays/*")
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(Config), "apiVersion:")
	told := strings.FieldsFunc(comment, func(r rune) bool { return strings.ContainsRune(" \n,;.", r) })
	for _, dir := range dirs {
		args := only[*appsv1.DaemonSet](build(t, dir))[0].Spec.Template.Spec.Containers[0].Args
		for _, a := range args[2:] { // beside agent --config
			if flag, _, _ := strings.Cut(a, "="); !slices.Contains(told, flag) {
				t.Errorf("%s sets %s, and base/config.yaml does not say so", dir, flag)
			}
		}
	}
}

// A Prometheus without the operator has the PodMonitor's job: alerts and dashboards go
// by its name, and series of containers keep their own labels.
func TestScrapeJob(t *testing.T) {
	b, err := os.ReadFile("overlays/scrape/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"job_name: eyas\n", "honor_labels: true\n", "names: [eyas-system]\n", "regex: eyas;metrics\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q", want)
		}
	}
	pod := only[*appsv1.DaemonSet](build(t, "overlays/scrape"))[0].Spec.Template
	for k := range pod.Annotations {
		if strings.HasPrefix(k, "prometheus.io/") {
			t.Errorf("pods have %s: another job scrapes them, too", k)
		}
	}
}
