package doctor

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/hostfs"
)

func TestTree(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "outside")
	write(t, filepath.Join(dir, "root/secret"), "inside")
	write(t, filepath.Join(dir, "root/up"), "link:../../secret")
	write(t, filepath.Join(dir, "root/absolute"), "link:/secret")
	write(t, filepath.Join(dir, "root/circle"), "link:circle")
	write(t, filepath.Join(dir, "root/magic"), "link:/proc/self/root")
	write(t, filepath.Join(dir, "root/long"), "123456789")
	if err := unix.Mkfifo(filepath.Join(dir, "root/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := tree{filepath.Join(dir, "root"), ""}
	for _, name := range []string{"secret", "/secret", "up", "absolute"} {
		if got, err := r.text(name); err != nil || got != "inside" {
			t.Errorf("%s: got %q, %v; want what is inside", name, got, err)
		}
	}
	for _, name := range []string{"circle", "fifo", "long", "absent", "magic", "."} {
		if b, err := r.read(name, 8); err == nil {
			t.Errorf("%s: got %q, want an error", name, b)
		}
	}
	if _, err := (tree{filepath.Join(dir, "none"), "/x"}).read("a", 1); !errors.Is(err, hostfs.ErrNoRoot) {
		t.Errorf("no base: %v", err)
	}
}

func TestParseMounts(t *testing.T) {
	got := parseMounts(goodMounts + "9 1 0:5 /a\\134b /c\\012 rw shared:1 master:2 - nfs4 srv:/x\nbroken - line\n\n")
	want := mount{device: "0:5", root: `/a\b`, point: "/c\n", options: "rw", fstype: "nfs4"}
	if diff := cmp.Diff(want, got[len(got)-1], cmp.AllowUnexported(mount{})); diff != "" || len(got) != 6 {
		t.Errorf("%d mounts (-want +got):\n%s", len(got), diff)
	}
	for path, point := range map[string]string{
		"/sys/fs/cgroup/x": "/sys/fs/cgroup", "/sys/fs/cgroups": "/sys", "/usr": "/", "/mnt/no suid/a": "/mnt/no suid",
	} {
		if m, found := mountOf(got, path); !found || m.point != point {
			t.Errorf("%s: got %q, want %q", path, m.point, point)
		}
	}
	if _, found := mountOf(nil, "/"); found {
		t.Error("found a mount of none")
	}
}
