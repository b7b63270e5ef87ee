//go:build host

package kube

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/resid"
)

// plurals are the kinds of manifests/ as paths name them; those that start with a slash
// are of no namespace.
var plurals = map[string]string{
	"ClusterRole": "/clusterroles", "ClusterRoleBinding": "/clusterrolebindings", "ConfigMap": "configmaps", "DaemonSet": "daemonsets", "Job": "jobs",
	"Namespace": "/namespaces", "NetworkPolicy": "networkpolicies",
	"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules", "RuntimeClass": "/runtimeclasses", "Service": "services",
	"ServiceAccount": "serviceaccounts", "StatefulSet": "statefulsets",
}

// pathOf is where an object is applied.
func pathOf(t *testing.T, k resid.Gvk, namespace, name string) string {
	t.Helper()
	plural, ok := plurals[k.Kind]
	if !ok {
		t.Fatalf("%s: no kind that is applied", k)
	}
	path := "/api/" + k.Version
	if k.Group != "" {
		path = "/apis/" + k.Group + "/" + k.Version
	}
	if !strings.HasPrefix(plural, "/") {
		path += "/namespaces/" + namespace + "/"
	}
	return path + plural + "/" + name
}

// TestManifests: the API server takes all that is applied, by server-side apply, and
// knows every field.
func TestManifests(t *testing.T) {
	c := newCluster(t)
	c.teach(t)
	applied := map[string]int{} // by kind
	err := filepath.WalkDir("../../manifests", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "kustomization.yaml" || strings.Contains(path, "/components/") {
			return err
		}
		dir := filepath.Dir(path)
		t.Run(strings.TrimPrefix(dir, "../../manifests/"), func(t *testing.T) {
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range built.Resources() {
				gvk := r.GetGvk()
				text, err := r.AsYAML()
				if err != nil {
					t.Fatal(err)
				}
				namespace := r.GetNamespace()
				if namespace == "" {
					namespace = "default"
				}
				c.serverSideApply(t, pathOf(t, gvk, namespace, r.GetName()), text)
				applied[gvk.Kind]++
			}
		})
		return nil
	})
	for kind := range plurals {
		if applied[kind] == 0 {
			t.Errorf("no %s was applied", kind)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// serverSideApply is `kubectl apply --server-side --validate=strict`.
func (c *cluster) serverSideApply(t *testing.T, path string, text []byte) {
	t.Helper()
	if code, answer := c.offer(t, path, text); code/100 != 2 {
		t.Errorf("%s: status %d: %s", path, code, answer)
	}
}

// offer returns how the API server answers it. Warnings fail the test.
func (c *cluster) offer(t *testing.T, path string, text []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPatch, c.url+path+"?fieldManager=test&fieldValidation=Strict&force=true", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Content-Type", "application/apply-patch+yaml")
	got, err := c.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	answer, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range got.Header.Values("Warning") {
		t.Errorf("%s: %s", path, w)
	}
	return got.StatusCode, string(answer)
}
