package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/manifests"
)

func TestInstallProfiles(t *testing.T) {
	root := t.TempDir()
	const dir = "/var/lib/kubelet/seccomp/eyas"
	want := manifests.Profiles()
	install := func(wrote []string) {
		t.Helper()
		got, err := installProfiles(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(wrote, got); d != "" {
			t.Errorf("written (-want +got):\n%s", d)
		}
		have := map[string][]byte{}
		files, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if have[f.Name()], err = os.ReadFile(filepath.Join(root, dir, f.Name())); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("there (-want +got):\n%s", d)
		}
	}
	install([]string{"sandbox.json"})
	install(nil)
	file := filepath.Join(root, dir, "sandbox.json")
	for name, b := range map[string]string{file: "{}", file + ".new": "of one that was killed"} {
		if err := os.WriteFile(name, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install([]string{"sandbox.json"})
}

// What is written stays on the node, wherever links lead.
func TestInstallProfilesLinks(t *testing.T) {
	root, out := t.TempDir(), t.TempDir()
	if err := os.Symlink(out, filepath.Join(root, "seccomp")); err != nil {
		t.Fatal(err)
	}
	if _, err := installProfiles(root, "/seccomp/eyas"); err == nil {
		t.Error("a link out of the root is followed")
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("outside of the root there is %v (%v)", left, err)
	}
}

// A node's /var/lib/kubelet may be a link to where there is room.
func TestInstallProfilesLinked(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "data/kubelet"), 0o755), os.MkdirAll(filepath.Join(root, "var/lib"), 0o755),
		os.Symlink("/data/kubelet", filepath.Join(root, "var/lib/kubelet"))); err != nil {
		t.Fatal(err)
	}
	if _, err := installProfiles(root, "/var/lib/kubelet/seccomp/eyas"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "data/kubelet/seccomp/eyas/sandbox.json")); err != nil {
		t.Error(err)
	}
}
