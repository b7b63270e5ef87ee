//go:build host

package ledger

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// ownMounts runs the calling test again in a process with a mount namespace of
// its own, and reports whether this is that process.
func ownMounts(t *testing.T) bool {
	t.Helper()
	const inside = "EYAS_TEST_MOUNTS"
	if os.Getenv(inside) != "" {
		return true
	}
	c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := c.CombinedOutput()
	t.Logf("in its own mount namespace:\n%s", out)
	if err != nil {
		t.Errorf("in its own mount namespace: %v", err)
	}
	return false
}

func TestFullDisk(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("ledger-test", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	l := must[*Ledger](t)(Open(Options{Dir: dir, Now: clock(), MaxTombstones: 1}))
	defer l.Close()
	must[Lease](t)(l.Create(Lease{ID: "first", Range: Range{65536, 65536}}))
	must[Lease](t)(l.Create(Lease{ID: "dead"}))
	must[Lease](t)(l.Advance("dead", Releasing, nil))
	must[Lease](t)(l.Advance("dead", Tombstone, nil))
	l.o.MaxAge = 1

	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600) // as much as there is room
	same := func(what string) {
		t.Helper()
		disk, blocked, err := Read(dir)
		if err != nil || len(blocked) > 0 || !cmp.Equal(l.List(), disk) {
			t.Errorf("%s: %v %v\n%s", what, err, blocked, cmp.Diff(l.List(), disk))
		}
		if _, err := os.Lstat(filepath.Join(dir, tempName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: temporary file: %v", what, err)
		}
	}
	if _, err := l.Create(Lease{ID: "second", Range: Range{131072, 65536}}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("create on a full disk: %v", err)
	}
	same("create")
	if _, err := l.Advance("first", Done, nil); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("advance on a full disk: %v", err)
	}
	if got, _ := l.Get("first"); got.State != Intent {
		t.Errorf("after a failed write: %+v", got)
	}
	same("advance")
	if n, err := l.Prune(); n != 1 || err != nil {
		t.Errorf("prune on a full disk: %d, %v", n, err)
	}
	same("prune")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	must[Lease](t)(l.Create(Lease{ID: "second", Range: Range{131072, 65536}}))
	must[Lease](t)(l.Advance("first", Done, nil))
	same("after all")
}

func TestReadOnlyDisk(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "leases")
	l := must[*Ledger](t)(Open(Options{Dir: dir, Now: clock()}))
	must[Lease](t)(l.Create(Lease{ID: "first", Range: Range{65536, 65536}}))
	if err := errors.Join(unix.Mount(dir, dir, "", unix.MS_BIND, ""),
		unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Advance("first", Done, nil); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), dir) {
		t.Errorf("advance: %v", err)
	}
	if _, err := l.Create(Lease{ID: "second", Range: Range{131072, 65536}}); !errors.Is(err, unix.EROFS) {
		t.Errorf("create: %v", err)
	}
	if got, _ := l.Get("first"); got.State != Intent || len(l.List()) != 1 {
		t.Errorf("memory: %v", l.List())
	}
	if disk, _, err := Read(dir); err != nil || !cmp.Equal(l.List(), disk) {
		t.Errorf("read: %v %s", err, cmp.Diff(l.List(), disk))
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, unix.EROFS) {
		t.Errorf("open: %v", err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	must[Lease](t)(mustOpen(t, dir).Advance("first", Done, nil))
}
