package hostfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// node makes a root directory: what ends with / is a directory, what has -> a link, all
// else a file whose content is its name.
func node(t *testing.T, names ...string) Root {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		name, to, link := strings.Cut(name, "->")
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch {
		case link:
			err = errors.Join(err, os.Symlink(to, at))
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(at, 0o755))
		default:
			err = errors.Join(err, os.WriteFile(at, []byte(name), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return Root{Path: dir}
}

func TestRead(t *testing.T) {
	r := node(t, "etc/passwd", "data/subuid", "etc/subuid->/data/subuid", "etc/up->../../../data/subuid", "data/kubelet/pods/a", "var/lib/kubelet->/data/kubelet",
		"var/lib/twice->kubelet", "etc/nowhere->/data/none", "var/lib/lost->/mnt/kubelet", "etc/self->self", "etc/magic->/proc/self/root/etc/passwd", "dir/")
	if err := unix.Mkfifo(filepath.Join(r.Path, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/passwd": "etc/passwd", "/etc/passwd": "etc/passwd", "/etc/subuid": "data/subuid", "/etc/up": "data/subuid",
		"/var/lib/kubelet/pods/a": "data/kubelet/pods/a", "/var/lib/twice/pods/a": "data/kubelet/pods/a",
	} {
		if b, err := r.Read(name, 64); err != nil || string(b) != want {
			t.Errorf("%s: got %q, %v; want %q", name, b, err, want)
		}
	}
	for name, want := range map[string]error{
		"/etc/none": fs.ErrNotExist, "/none/etc/passwd": fs.ErrNotExist, "/var/lib/kubelet/pods/none": fs.ErrNotExist,
		"/etc/nowhere": ErrDangling, "/var/lib/lost/pods/a": ErrDangling, "/etc/self": unix.ELOOP,
		"/etc/passwd/a": unix.ENOTDIR,
		"/etc/magic":    ErrDangling, // there is no procfs below this root
	} {
		_, err := r.Read(name, 64)
		if !errors.Is(err, want) || errors.Is(err, fs.ErrNotExist) != errors.Is(want, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	for name, want := range map[string]string{
		"/dir": "read /dir: not a regular file", "/fifo": "read /fifo: not a regular file", "/etc/passwd": "read /etc/passwd: more than 3 bytes",
		"/var/lib/lost/pods/a": "open /var/lib/lost: is a link",
	} {
		if _, err := r.Read(name, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// A root that cannot be opened has not nothing in it.
func TestNoRoot(t *testing.T) {
	_, err := Root{Path: filepath.Join(t.TempDir(), "none")}.Read("/etc/passwd", 64)
	if !errors.Is(err, ErrNoRoot) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want an error that is not that the file is absent", err)
	}
}

// Links of procfs lead out of any root.
func TestMagic(t *testing.T) {
	if _, err := (Root{}).Read("/proc/self/root/proc/version", 1<<20); !errors.Is(err, unix.ELOOP) {
		t.Errorf("got %v, want ELOOP", err)
	}
	if b, err := (Root{}).Read("/proc/version", 1<<20); err != nil || !strings.HasPrefix(string(b), "Linux") {
		t.Errorf("got %q, %v", b, err)
	}
}
