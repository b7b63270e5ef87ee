package manifests

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// The component of those on call fits the base: its role is in the agent's namespace,
// and there is no binding, as it is for others to say who they are.
func TestOnCall(t *testing.T) {
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string {
		rel, err := filepath.Rel(dir, filepath.Join(here, name))
		if err != nil {
			t.Fatal(err)
		}
		return rel
	}
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [" + path("base") + "]\ncomponents: [" + path("components/oncall") + "]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range built.Resources() {
		if r.GetName() == "eyas-oncall" {
			got = append(got, r.GetKind()+" in "+r.GetNamespace())
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"ClusterRole in ", "Role in eyas-system"}) {
		t.Errorf("%q", got)
	}
}
