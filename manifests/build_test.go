package manifests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kinds are those that may be applied, as Kubernetes and the Prometheus operator define
// them.
var kinds = map[string]func() any{
	"v1/ConfigMap":                                    func() any { return &corev1.ConfigMap{} },
	"v1/Namespace":                                    func() any { return &corev1.Namespace{} },
	"v1/Service":                                      func() any { return &corev1.Service{} },
	"v1/ServiceAccount":                               func() any { return &corev1.ServiceAccount{} },
	"apps/v1/DaemonSet":                               func() any { return &appsv1.DaemonSet{} },
	"apps/v1/StatefulSet":                             func() any { return &appsv1.StatefulSet{} },
	"apps/v1/Deployment":                              func() any { return &appsv1.Deployment{} },
	"batch/v1/Job":                                    func() any { return &batchv1.Job{} },
	"node.k8s.io/v1/RuntimeClass":                     func() any { return &nodev1.RuntimeClass{} },
	"networking.k8s.io/v1/NetworkPolicy":              func() any { return &networkingv1.NetworkPolicy{} },
	"rbac.authorization.k8s.io/v1/Role":               func() any { return &rbacv1.Role{} },
	"rbac.authorization.k8s.io/v1/RoleBinding":        func() any { return &rbacv1.RoleBinding{} },
	"rbac.authorization.k8s.io/v1/ClusterRole":        func() any { return &rbacv1.ClusterRole{} },
	"rbac.authorization.k8s.io/v1/ClusterRoleBinding": func() any { return &rbacv1.ClusterRoleBinding{} },
	"monitoring.coreos.com/v1/PodMonitor":             func() any { return &monitoring.PodMonitor{} },
	"monitoring.coreos.com/v1/PrometheusRule":         func() any { return &monitoring.PrometheusRule{} },
}

// decode takes no field that nobody knows, in no other case, and none twice, as the API
// server does.
func decode(text []byte, into any) error {
	b, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	strict, err := json.UnmarshalStrict(b, into)
	return errors.Join(append(strict, err)...)
}

// build builds a kustomization; every object must be of a kind and without a field
// that nobody knows.
func build(t *testing.T, dir string) []any {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatalf("kustomize build %s: %v", dir, err)
	}
	var all []any
	for _, r := range resources.Resources() {
		b, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		gvk := r.GetGvk()
		name := strings.TrimPrefix(gvk.Group+"/"+gvk.Version+"/"+gvk.Kind, "/")
		make, ok := kinds[name]
		if !ok {
			t.Fatalf("%s: %s %s: no kind that is applied", dir, name, r.GetName())
		}
		o := make()
		if err := decode(b, o); err != nil {
			t.Fatalf("%s: %s %s: %v", dir, name, r.GetName(), err)
		}
		all = append(all, o)
	}
	return all
}

// kustomizations are all that can be applied: components cannot, alone.
func kustomizations(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "kustomization.yaml" {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(b), "kind: Component") {
			all = append(all, filepath.Dir(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func only[T any](all []any) (found []T) {
	for _, o := range all {
		if v, ok := o.(T); ok {
			found = append(found, v)
		}
	}
	return found
}

func TestBuild(t *testing.T) {
	all := kustomizations(t)
	for _, want := range []string{
		"base", "overlays/containerd", "overlays/crio", "overlays/otlp", "overlays/scrape", "overlays/privileged", "examples/buildkit", "examples/devenv",
	} {
		if !slices.Contains(all, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, dir := range all {
		t.Run(dir, func(t *testing.T) {
			if len(build(t, dir)) == 0 {
				t.Error("it is empty")
			}
		})
	}
}

// A field that nobody knows, or an object of no kind, does not pass: what the other tests rest on.
func TestStrict(t *testing.T) {
	for name, text := range map[string]string{
		"field": "metadata: {name: x}\nspec: {template: {spec: {hostPid: true}}}",
		"type":  "spec: {template: {spec: {hostPID: 1}}}",
		"twice": "spec: {}\nspec: {}",
	} {
		if err := decode([]byte(text), &appsv1.DaemonSet{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// What is found by a selector is there.
func TestSelectors(t *testing.T) {
	all := build(t, "overlays/containerd")
	set := only[*appsv1.DaemonSet](all)[0]
	labels := set.Spec.Template.Labels
	monitors := only[*monitoring.PodMonitor](all)
	if len(monitors) != 1 {
		t.Fatalf("%d PodMonitors, want one", len(monitors))
	}
	for what, selector := range map[string]map[string]string{
		"DaemonSet": set.Spec.Selector.MatchLabels, "PodMonitor": monitors[0].Spec.Selector.MatchLabels,
	} {
		for k, v := range selector {
			if labels[k] != v {
				t.Errorf("%s selects %s=%s, the pods have %q", what, k, v, labels[k])
			}
		}
	}
	c := set.Spec.Template.Spec.Containers[0]
	for _, e := range monitors[0].Spec.PodMetricsEndpoints {
		if e.Port == nil || *e.Port != c.Ports[0].Name {
			t.Errorf("the PodMonitor asks port %v, the container has %s", e.Port, c.Ports[0].Name)
		}
	}
	for _, o := range all {
		if n, ok := o.(interface{ GetNamespace() string }); ok {
			if ns := n.GetNamespace(); ns != "" && ns != "eyas-system" {
				t.Errorf("%s is in namespace %s", fmt.Sprintf("%T", o), ns)
			}
		}
	}
}
