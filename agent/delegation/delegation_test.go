package delegation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestRequestCheck(t *testing.T) {
	good := Request{Path: "/kubepods/pod1/c1", ID: 7, UID: 1000, GID: 1000}
	for name, change := range map[string]func(*Request){
		"empty":           func(r *Request) { r.Path = "" },
		"root":            func(r *Request) { r.Path = "/" },
		"roots":           func(r *Request) { r.Path = "//" },
		"dot":             func(r *Request) { r.Path = "." },
		"slash dot":       func(r *Request) { r.Path = "/." },
		"dot dot":         func(r *Request) { r.Path = "/.." },
		"relative":        func(r *Request) { r.Path = "kubepods/c1" },
		"dot dot inside":  func(r *Request) { r.Path = "/kubepods/../c1" },
		"dot dot at end":  func(r *Request) { r.Path = "/kubepods/.." },
		"slash at end":    func(r *Request) { r.Path = "/kubepods/" },
		"two slashes":     func(r *Request) { r.Path = "/kubepods//c1" },
		"nul":             func(r *Request) { r.Path = "/kubepods\x00/c1" },
		"long":            func(r *Request) { r.Path = "/" + strings.Repeat("a", 5000) },
		"no id":           func(r *Request) { r.ID = 0 },
		"uid -1":          func(r *Request) { r.UID = math.MaxUint32 },
		"gid -1":          func(r *Request) { r.GID = math.MaxUint32 },
		"leaf path":       func(r *Request) { r.Leaf = "a/b" },
		"leaf dots":       func(r *Request) { r.Leaf = ".." },
		"leaf file":       func(r *Request) { r.Leaf = "cgroup.procs" },
		"leaf space":      func(r *Request) { r.Leaf = "a b" },
		"controller sign": func(r *Request) { r.Controllers = []string{"-memory"} },
		"two controllers": func(r *Request) { r.Controllers = []string{"cpu memory"} },
		"no controller":   func(r *Request) { r.Controllers = []string{""} },
	} {
		r := good
		change(&r)
		var step *StepError
		if _, err := r.check(); !errors.Is(err, ErrRefused) || !errors.As(err, &step) || step.Step != "check" {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := good.check()
	want := good
	want.Leaf, want.MaxDescendants, want.MaxDepth = "init", 512, 16
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("defaults: %v\n%s", err, d)
	}
	good.Leaf = "init.scope"
	if _, err := good.check(); err != nil {
		t.Error(err)
	}
}

func TestDelegateFiles(t *testing.T) {
	sys := t.TempDir()
	got, err := delegateFiles(sys)
	if err != nil || !slices.Equal(got, fallbackFiles) {
		t.Errorf("without the kernel's list: %v %v", got, err)
	}
	dir := filepath.Join(sys, "kernel/cgroup")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		"cgroup.procs\ncgroup.threads\ncgroup.subtree_control\nmemory.oom.group\nmemory.reclaim\n": true,
		"": false, "memory.reclaim": false, "cgroup.procs\n../x.y": false, "cgroup.procs\n/etc/a.b": false,
		"cgroup.procs\n..": false, "cgroup.procs\nplain": false, "cgroup.procs\na..b": false,
	} {
		if err := os.WriteFile(filepath.Join(dir, "delegate"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := delegateFiles(sys)
		if (err == nil) != ok || ok && !slices.Equal(got, strings.Fields(text)) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		step string
		err  error
		why  string
		is   error
	}{
		{"enable:memory", unix.EBUSY, "processes are in the cgroup itself", nil},
		{"enable:memory", unix.EOPNOTSUPP, "threaded", nil},
		{"enable:memory", unix.ENOENT, "not enabled in the parent", nil},
		{"enable:cpu", unix.EINVAL, "realtime", nil},
		{"enable:cpu", unix.ENODEV, "ended", ErrGone},
		{"move", unix.EBUSY, "the leaf has controllers", nil},
		{"move", unix.ENOENT, "nsdelegate", nil},
		{"move", unix.EOPNOTSUPP, "threaded", nil},
		{"leaf:init", unix.EAGAIN, "cgroup.max.descendants", nil},
		{"leaf:init", unix.ENOENT, "ended", ErrGone},
		{"leaf:init", unix.EACCES, "another user", nil},
		{"leaf:init", unix.EROFS, "read-only", nil},
		{"own:.", unix.EPERM, "CAP_CHOWN", nil},
		{"bound:cgroup.max.depth", unix.EPERM, "nsdelegate", nil},
		{"bound:cgroup.max.depth", unix.ENODEV, "ended", ErrGone},
		{"check", unix.EXDEV, "mounted over", nil},
		{"check", unix.ENOENT, "ended", ErrGone},
		{"own:init", unix.EIO, "", nil},
	} {
		err := stepError(c.step, "/x", c.err)
		var step *StepError
		if !errors.As(err, &step) || step.Step != c.step || !errors.Is(err, c.err) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s %v: %v", c.step, c.err, err)
			continue
		}
		if (c.why == "") != (step.Why == "") || !strings.Contains(step.Why, c.why) || c.is == nil && errors.Is(err, ErrGone) {
			t.Errorf("%s %v: %q, want %q", c.step, c.err, step.Why, c.why)
		}
		if again := stepError("other", "/y", err); again.Error() != err.Error() {
			t.Errorf("wrapped twice: %v", again)
		}
	}
	if stepError("move", "/x", nil) != nil {
		t.Error("no error became one")
	}
}

func TestCheckDomain(t *testing.T) {
	for kind, want := range map[string]error{
		"domain": nil, "threaded": ErrThreaded, "domain threaded": ErrThreaded, "domain invalid": ErrThreaded, "": ErrRefused, "new": ErrRefused,
	} {
		if err := checkDomain(kind, "/x"); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

func TestMovePIDs(t *testing.T) {
	for name, c := range map[string]struct {
		pids    string
		answers map[string]error
		moved   int
		err     error
	}{
		"none":          {"", nil, 0, nil},
		"two":           {"5 6", nil, 2, nil},
		"gone":          {"5 6", map[string]error{"5": unix.ESRCH}, 2, nil},
		"kernel thread": {"5 6", map[string]error{"5": unix.EINVAL, "6": unix.EINVAL}, 0, nil},
		"busy":          {"5 6", map[string]error{"6": unix.EBUSY}, 1, unix.EBUSY},
		"ourselves":     {"5 42 6", nil, 1, ErrRefused},
		"no pid here":   {"0", nil, 0, ErrRefused},
	} {
		n, err := movePIDs(context.Background(), strings.Fields(c.pids), 42, func(pid string) error { return c.answers[pid] })
		if n != c.moved || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if n, err := movePIDs(ctx, []string{"5"}, 42, func(string) error { return nil }); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %d, %v", n, err)
	}
}

func TestMoveAll(t *testing.T) {
	ctx := context.Background()
	write := func(string) error { return nil }
	if err := moveAll(ctx, 42, func() (string, error) { return "5", nil }, write); !errors.Is(err, ErrBusy) {
		t.Errorf("an endless stream: %v", err)
	}
	left := 3
	err := moveAll(ctx, 42, func() (string, error) {
		if left--; left < 0 {
			return "", nil
		}
		return "5 6", nil
	}, write)
	if err != nil || left != -1 {
		t.Errorf("three rounds: %v, %d", err, left)
	}
	if err := moveAll(ctx, 42, func() (string, error) { return "", unix.ENODEV }, write); !errors.Is(err, unix.ENODEV) {
		t.Errorf("gone: %v", err)
	}
}

func TestParsePopulated(t *testing.T) {
	for s, want := range map[string]bool{"populated 1\nfrozen 0": true, "populated 0\nfrozen 1": false, "frozen 1\npopulated 1": true} {
		if got, err := parsePopulated(s); got != want || err != nil {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"", "populated", "populated 2", "unpopulated 1"} {
		if _, err := parsePopulated(s); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}

func TestReadMountOptions(t *testing.T) {
	for name, c := range map[string]struct {
		lines string
		want  MountOptions
		err   error
	}{
		"node":     {"30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot", MountOptions{"/sys/fs/cgroup", true, true, true}, nil},
		"stripped": {"30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw", MountOptions{"/sys/fs/cgroup", true, false, false}, nil},
		"ro mount": {"30 1 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw,nsdelegate", MountOptions{"/sys/fs/cgroup", false, true, false}, nil},
		"ro super": {"30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 ro,nsdelegate", MountOptions{"/sys/fs/cgroup", false, true, false}, nil},
		"hybrid": {"29 1 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n30 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
			MountOptions{"/sys/fs/cgroup/unified", true, false, false}, nil},
		"none": {"29 1 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,nsdelegate", MountOptions{}, fs.ErrNotExist},
	} {
		proc := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(proc, "1"), 0o700), os.Symlink("1", filepath.Join(proc, "self")),
			os.WriteFile(filepath.Join(proc, "1", "mountinfo"), []byte(c.lines+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		got, err := ReadMountOptions(proc)
		if d := cmp.Diff(c.want, got); d != "" || !errors.Is(err, c.err) {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
}

// A mount point that is no cgroup2 is refused, whatever is asked.
func TestOpenRefuses(t *testing.T) {
	for _, mount := range []string{"", "cgroup", t.TempDir(), "/proc"} {
		if _, err := Open(mount, "/sys"); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", mount, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), "/sys"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Whatever is asked for, a path that passes stays below the mount.
func FuzzRequest(f *testing.F) {
	for _, p := range []string{"/kubepods/c1", "/", "/..", "/a/../..", "a", "/a/b/../c", "/...", "/a/.", "/ a"} {
		f.Add(p, "init")
	}
	f.Add("/a", "..")
	f.Fuzz(func(t *testing.T, path, leaf string) {
		r, err := Request{Path: path, ID: 1, Leaf: leaf}.check()
		if err != nil {
			return
		}
		for _, part := range strings.Split(r.Path[1:], "/") {
			if part == "" || part == "." || part == ".." {
				t.Fatalf("path %q passed", path)
			}
		}
		if strings.ContainsAny(r.Leaf, "/\x00") || r.Leaf == "." || r.Leaf == ".." || strings.HasPrefix(r.Leaf, "cgroup.") {
			t.Fatalf("leaf %q passed", leaf)
		}
		if full := filepath.Join("/m", r.Path); !strings.HasPrefix(full, "/m/") {
			t.Fatal(full)
		}
	})
}

func FuzzParseKernelText(f *testing.F) {
	f.Add("cgroup.procs\nmemory.reclaim")
	f.Add("populated 1\nfrozen 0")
	f.Fuzz(func(t *testing.T, s string) {
		files, err := parseDelegate(s)
		for _, name := range files {
			if err == nil && (strings.ContainsAny(name, "/ \x00") || !strings.Contains(name, ".")) {
				t.Fatalf("file %q passed", name)
			}
		}
		_, _ = parsePopulated(s)
		n, err := movePIDs(context.Background(), strings.Fields(s), 42, func(pid string) error {
			if pid == "0" || pid == fmt.Sprint(42) {
				t.Fatalf("moved %s", pid)
			}
			return nil
		})
		if err == nil && n != len(strings.Fields(s)) {
			t.Fatal(n)
		}
	})
}
