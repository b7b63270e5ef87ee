package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

// procOf makes a procfs with these links.
func procOf(t *testing.T, links map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, to := range links {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// In a pod, without root, the image's files are not taken for the node's.
func TestHostRootInPod(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	proc := t.TempDir()
	if got, err := HostRoot(proc); err == nil || got != filepath.Join(proc, "1/root") {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestHostRoot(t *testing.T) {
	other := t.TempDir()
	for name, c := range map[string]struct {
		links map[string]string
		want  string // below the procfs; "": /
		fails bool
	}{
		"on the node":  {map[string]string{"1/root": "/"}, "", false},
		"in a pod":     {map[string]string{"1/root": other}, "1/root", false},
		"without root": {nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			proc := procOf(t, c.links)
			want := "/"
			if c.want != "" {
				want = filepath.Join(proc, c.want)
			}
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			if got, err := HostRoot(proc); got != want || (err != nil) != c.fails {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
		})
	}
}

func TestForeignCgroups(t *testing.T) {
	for name, c := range map[string]struct {
		pid, cgroup string
		want        bool
	}{
		"on the node":              {initPIDNS, initCgroupNS, false},
		"in a pod with hostPID":    {initPIDNS, "cgroup:[4026532500]", true},
		"in a pod without":         {"pid:[4026532499]", "cgroup:[4026532500]", false},
		"in a privileged one, too": {"pid:[4026532499]", initCgroupNS, false},
	} {
		t.Run(name, func(t *testing.T) {
			proc := procOf(t, map[string]string{"self/ns/pid": c.pid, "thread-self/ns/cgroup": c.cgroup})
			if got, err := foreignCgroups(proc); err != nil || got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
	if _, err := foreignCgroups(t.TempDir()); err == nil {
		t.Error("a procfs without this process is taken")
	}
	// Where nothing is to be done it returns, and says when it cannot do it.
	if err := EnterHostCgroups(procOf(t, map[string]string{"self/ns/pid": initPIDNS, "thread-self/ns/cgroup": initCgroupNS})); err != nil {
		t.Error(err)
	}
	if err := EnterHostCgroups(procOf(t, map[string]string{"self/ns/pid": initPIDNS, "thread-self/ns/cgroup": "cgroup:[1]"})); err == nil {
		t.Error("without pid 1's namespace there is no error")
	}
}
