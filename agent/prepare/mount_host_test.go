//go:build host

package prepare

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// place is a root of a container that a tenant spoils, on a mount of its own.
type place struct {
	*testing.T
	root string
	tree *os.File
	own  map[uint64]bool
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{T: t, root: t.TempDir()}
	if err := unix.Mount("tenant", p.root, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(p.root, unix.MNT_DETACH) })
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, p.root, 0, unix.STATX_MNT_ID, &st); err != nil {
		t.Fatal(err)
	}
	p.own = map[uint64]bool{st.Mnt_id: true}
	p.must(os.Mkdir(p.root+"/etc", 0o755), os.WriteFile(p.root+"/etc/subuid", []byte("tenant's"), 0o644))
	source := filepath.Join(t.TempDir(), "subuid")
	p.must(os.WriteFile(source, []byte("ours"), 0o644))
	var err error
	p.tree, err = cloneMount(source)
	p.must(err)
	t.Cleanup(func() { p.tree.Close() })
	return p
}

func (p place) must(errs ...error) {
	p.Helper()
	if err := errors.Join(errs...); err != nil {
		p.Fatal(err)
	}
}

func (p place) attach() error {
	root, err := os.Open(p.root)
	p.must(err)
	defer root.Close()
	return attach(p.tree, int(root.Fd()), "etc/subuid", p.own)
}

// A tenant decides what its /etc/subuid is; nothing outside of it is touched.
func TestAttachHostile(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	outside := filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(outside, []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		spoil func(etc, file string) error
		want  string
	}{
		"link":           {func(_, f string) error { return errors.Join(os.Remove(f), os.Symlink(outside, f)) }, "a link is in the path"},
		"link within":    {func(e, f string) error { return errors.Join(os.Rename(f, e+"/x"), os.Symlink("x", f)) }, "a link is in the path"},
		"proc link":      {func(_, f string) error { return errors.Join(os.Remove(f), os.Symlink("/proc/self/exe", f)) }, "a link is in the path"},
		"etc is a link":  {func(e, _ string) error { return errors.Join(os.RemoveAll(e), os.Symlink(filepath.Dir(outside), e)) }, "a link is in the path"},
		"etc is a file":  {func(e, _ string) error { return errors.Join(os.RemoveAll(e), os.WriteFile(e, nil, 0o644)) }, "give the image an (empty) file there"},
		"directory":      {func(_, f string) error { return errors.Join(os.Remove(f), os.Mkdir(f, 0o755)) }, "no regular file: give the image"},
		"fifo":           {func(_, f string) error { return errors.Join(os.Remove(f), unix.Mkfifo(f, 0o644)) }, "no regular file: give the image"},
		"device":         {func(_, f string) error { return errors.Join(os.Remove(f), unix.Mknod(f, unix.S_IFCHR, 0x103)) }, "no regular file"},
		"missing":        {func(_, f string) error { return os.Remove(f) }, "give the image an (empty) file there"},
		"foreign mount":  {func(_, f string) error { return unix.Mount(outside, f, "", unix.MS_BIND, "") }, "not its alone"},
		"etc is a mount": {func(e, _ string) error { return unix.Mount(filepath.Dir(outside), e, "", unix.MS_BIND, "") }, "not its alone"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.must(tc.spoil(p.root+"/etc", p.root+"/etc/subuid"))
			if err := p.attach(); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "/etc/subuid") {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if b, err := os.ReadFile(outside); err != nil || string(b) != "outside" {
				t.Errorf("the file outside: %q, %v", b, err)
			}
		})
	}
	p := newPlace(t)
	for range 2 { // the second time it is there
		p.must(p.attach())
	}
	if b, err := os.ReadFile(p.root + "/etc/subuid"); err != nil || string(b) != "ours" {
		t.Errorf("%q, %v", b, err)
	}
	p.must(p.tree.Close(), unix.Unmount(p.root+"/etc/subuid", 0))
	if b, err := os.ReadFile(p.root + "/etc/subuid"); err != nil || string(b) != "tenant's" {
		t.Errorf("the tenant's file was written: %q, %v", b, err)
	}
}

// A tenant exchanges its /etc for a link while the agent works.
func TestAttachWhileRenamed(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	outside := t.TempDir()
	if err := os.WriteFile(outside+"/subuid", []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := newPlace(t)
	p.must(os.Symlink(outside, p.root+"/link"))
	stopped, quit := make(chan error), make(chan struct{})
	go func() {
		for {
			select {
			case <-quit:
				stopped <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, p.root+"/link", unix.AT_FDCWD, p.root+"/etc", unix.RENAME_EXCHANGE); err != nil {
				stopped <- err
				return
			}
			runtime.Gosched()
		}
	}()
	var mounted, refused int
	for range 3000 {
		tree, err := cloneMount(p.tree.Name())
		p.must(err)
		q := p
		q.tree = tree
		if err := q.attach(); err == nil {
			mounted++
		} else if refused++; !strings.Contains(err.Error(), "etc/subuid") {
			t.Errorf("%v", err)
		}
		tree.Close()
		if b, err := os.ReadFile(outside + "/subuid"); err != nil || string(b) != "outside" {
			t.Fatalf("mounted outside: %q, %v", b, err)
		}
	}
	close(quit)
	p.must(<-stopped)
	t.Logf("mounted %d times, refused %d times", mounted, refused)
}

// Neither the host's files nor another's are touched: those of a process without
// a mount namespace, with mounts shared with the host, or in another cgroup.
func TestMountFilesOfOthers(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	// This process is the host: its mounts are shared, as systemd has them.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	host, err := os.ReadFile("/etc/subuid")
	if err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string]uintptr{"the host's": 0, "shared": syscall.CLONE_NEWNS} {
		if err := os.Mkdir(r.abs(name), 0o755); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(r.abs(name))
		if err != nil {
			t.Fatal(err)
		}
		// Not Unshareflags, which would make the mounts private.
		c := &container{cgroup: filepath.Join(r.top, name), cmd: command(int(dir.Fd()), flags)}
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		dir.Close()
		r.all = append(r.all, c)
		p := r.open()
		_, err = p.PreparePID(t.Context(), PIDRequest{PID: c.pid(), Profile: "dev"})
		if err == nil || !strings.Contains(err.Error(), "not its alone") {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile("/etc/subuid"); err != nil || string(b) != string(host) {
			t.Fatalf("%s: the host's /etc/subuid is %q, %v", name, b, err)
		}
		target, err := Describe("/proc", r.mount, c.pid())
		if err != nil {
			t.Fatal(err)
		}
		target.Cgroup = r.top + "/another"
		if f, err := openProcess("/proc", target); err == nil || !strings.Contains(err.Error(), "not in cgroup") {
			t.Errorf("a process of another cgroup: %v, %v", f, err)
		}
		c.end()
		if f, err := openProcess("/proc", target); err == nil || !strings.Contains(err.Error(), "no such process") {
			t.Errorf("a process that ended: %v, %v", f, err)
		}
		r.reconcile(p)
		r.over()
		r.close(p)
	}
}

// The first thread never ends, so it must not enter a namespace.
func TestFirstThreadStays(t *testing.T) {
	r := newRig(t)
	c := r.start("c", false)
	ns, err := os.Open("/proc/" + c.pidText() + "/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	done := make(chan error)
	for range 64 {
		go func() { done <- inMountNamespace(ns, func() error { return nil }) }()
	}
	for range 64 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	first, err1 := os.Readlink("/proc/self/ns/mnt")
	its, err2 := os.Readlink("/proc/" + c.pidText() + "/ns/mnt")
	if err := errors.Join(err1, err2); err != nil || first == its {
		t.Errorf("the first thread is in %s, the container in %s: %v", first, its, err)
	}
}
