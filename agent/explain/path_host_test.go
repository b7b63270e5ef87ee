//go:build host

package explain

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// start runs cat in namespaces until the test ends, and returns its pid.
func start(t *testing.T, attr *syscall.SysProcAttr) int {
	t.Helper()
	attr.Pdeathsig = 0 // of the thread, which ends before the test
	c := exec.Command("cat")
	c.SysProcAttr = attr
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
	return c.Process.Pid
}

func inUserNS() *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{HostID: 200000, Size: 1000}}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: false}
}

// A file of a real user namespace's container, seen from the node and inside.
func TestLookInside(t *testing.T) {
	pid := start(t, inUserNS())
	dir := t.TempDir()
	own, nodes, link := filepath.Join(dir, "own"), filepath.Join(dir, "node's"), filepath.Join(dir, "link")
	for path, uid := range map[string]int{own: 200007, nodes: 0} {
		if err := errors.Join(os.WriteFile(path, nil, 0o640), os.Chown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/proc/1/root/etc", link); err != nil {
		t.Fatal(err)
	}
	uids, gids, err := sources.Maps("/proc", pid)
	if err != nil {
		t.Fatal(err)
	}
	all := identity.Extent{Count: identity.NoID}
	levels := []Level{{UIDs: identity.UIDMap{all}, GIDs: identity.GIDMap{all}}, {Level: 1, UIDs: uids, GIDs: gids}}

	f, err := LookInside(t.Context(), "/proc", pid, own)
	if err != nil {
		t.Fatal(err)
	}
	seen, why := See(f, levels, Overflow("/proc"))
	if f.Mode != "0640" || f.Kind != "regular file" || f.Mount.Point == "" || f.Mount.Idmapped || *f.Disk.UID != 200007 || *seen[1].UID != 7 || *seen[1].GID != 7 || len(why) > 0 {
		t.Errorf("%+v %+v %+v", f, seen, why)
	}
	f, err = LookInside(t.Context(), "/proc", pid, nodes)
	if err != nil {
		t.Fatal(err)
	}
	seen, why = See(f, levels, Overflow("/proc"))
	if !seen[1].Unmapped || len(why) != 2 || why[0].Level != 1 {
		t.Errorf("%+v %+v", seen, why)
	}
	// The kernel says the same from inside.
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-U", "--preserve-credentials", "stat", "-c", "%u", own, nodes).Output()
	if err != nil || string(out) != "7\n65534\n" {
		t.Errorf("inside: %q, %v", out, err)
	}
	if f, err = LookInside(t.Context(), "/proc", pid, link); err != nil || f.Kind != "symbolic link" {
		t.Errorf("%+v, %v", f, err)
	}
	for _, path := range []string{link + "/passwd", "/proc/self/root/etc/passwd", "/nowhere"} {
		if f, err := LookInside(t.Context(), "/proc", pid, path); err == nil {
			t.Errorf("%s: followed: %+v", path, f)
		}
	}
}

// idmapped makes a tmpfs with a file of uid 7 and one of uid 5000, and mounts it
// with a map of 1000 ids.
func idmapped(t *testing.T, userns *os.File, at string) error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	for name, uid := range map[string]int{"mapped": 7, "lost": 5000} {
		fd, err := unix.Openat(mnt, name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Fchown(fd, uid, uid), unix.Close(fd)); err != nil {
			return err
		}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
	if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return err
	}
	return unix.MoveMount(mnt, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// kernelVersion is for what a kernel cannot be asked.
func kernelVersion(t *testing.T) (major, minor int) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatalf("kernel release %q: %v", u.Release, err)
	}
	return major, minor
}

// An idmapped mount in a mount namespace of its own: what the kernel tells of it
// there, from another namespace, and through a clone without the map.
func TestIdmappedMount(t *testing.T) {
	major, minor := kernelVersion(t)
	if major < 6 || major == 6 && minor < 3 {
		t.Skipf("Linux %d.%d has no idmapped tmpfs (6.3)", major, minor)
	}
	told := major > 6 || minor >= 15 // maps of mounts, and clones without
	owner := start(t, inUserNS())
	userns, err := os.Open(filepath.Join("/proc", strconv.Itoa(owner), "ns", "user"))
	if err != nil {
		t.Fatal(err)
	}
	defer userns.Close()
	dir := t.TempDir()
	type answer struct{ mapped, lost File }
	here := make(chan answer, 1)
	inside := make(chan int, 1)
	failed := make(chan error, 1)
	stdin, end := io.Pipe()
	ended := make(chan error, 1)
	t.Cleanup(func() {
		if err := errors.Join(end.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(ended)
		fail := func(err error) { failed <- err }
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			fail(err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			fail(err)
			return
		}
		if err := idmapped(t, userns, dir); err != nil {
			fail(err)
			return
		}
		var a answer
		for name, to := range map[string]*File{"mapped": &a.mapped, "lost": &a.lost} {
			f, err := os.OpenFile(filepath.Join(dir, name), unix.O_PATH, 0)
			if err != nil {
				fail(err)
				return
			}
			*to, err = look(f, "/proc", "/proc/thread-self")
			f.Close()
			if err != nil {
				fail(err)
				return
			}
		}
		c := exec.Command("cat")
		c.Stdin = stdin
		if err := c.Start(); err != nil { // forks from this thread, into its namespace
			fail(err)
			return
		}
		here <- a
		inside <- c.Process.Pid
		ended <- c.Wait()
	}()
	var a answer
	select {
	case err := <-failed:
		t.Fatal(err)
	case a = <-here:
	}
	maps := []identity.Extent{{First: 0, Host: 200000, Count: 1000}}
	if !told {
		for name, f := range map[string]File{"mapped": a.mapped, "lost": a.lost} {
			if !f.Mount.Idmapped || f.Mount.Note == "" || f.Disk != (IDs{}) || (f.Host.UID != nil) != (name == "mapped") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		return
	}
	want := File{Kind: "regular file", Mode: "0600", Disk: IDs{ptr(7), ptr(7)}, Host: IDs{ptr(200007), ptr(200007)},
		Mount: Mount{Point: dir, FSType: "tmpfs", Device: a.mapped.Mount.Device, Idmapped: true, UIDMap: maps, GIDMap: maps}}
	if d := cmp.Diff(want, a.mapped); d != "" {
		t.Errorf("mapped: %s", d)
	}
	want.Disk, want.Host = IDs{ptr(5000), ptr(5000)}, IDs{}
	if d := cmp.Diff(want, a.lost); d != "" {
		t.Errorf("lost: %s", d)
	}
	// From another mount namespace the kernel makes no clone: what the map lacks
	// is not known there.
	want.Disk = IDs{}
	pid := <-inside
	if got, err := LookInside(t.Context(), "/proc", pid, filepath.Join(dir, "lost")); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("from another namespace: %v %s", err, cmp.Diff(want, got))
	}
}
