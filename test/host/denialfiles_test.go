//go:build host

package host

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// idMapped is in the hooks' states where denialFiles could mount with an id map.
const idMapped = "a mount with an id map"

// denialFiles makes files of uid and gid 7 of the node, which no container here
// has, for denialCases.
func denialFiles(t *testing.T, states map[string]string) {
	t.Helper()
	put := func(path string, from string, mode os.FileMode) {
		t.Helper()
		out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
		if from != "" {
			in, err := os.Open(from)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if _, err := io.Copy(out, in); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 7, 7); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	put("/tmp/eyas-node-file", "", 0o600)
	put("/tmp/busybox-eyas", busybox, 0o711)
	put("/tmp/busybox-eyas-shut", busybox, 0o700)
	dir := "/tmp/eyas-unmapped"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	put(filepath.Join(dir, "file"), "", 0o600)
	if err := mountMapped(t, dir, "/tmp/eyas-mapped"); err != nil {
		if !strings.HasPrefix(release(t), "6.1.") {
			t.Fatal(err)
		}
		t.Logf("tmpfs knows no id maps before 6.3: %v", err)
		return
	}
	states[idMapped] = "active: "
}

// mountMapped mounts a directory once more, with ids that are 5000 higher.
func mountMapped(t *testing.T, from, to string) error {
	t.Helper()
	c := exec.Command("sleep", "1000")
	higher := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 5000, Size: 1000}}
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: higher, GidMappings: higher, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer stop(c)
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", c.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tree)
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}); err != nil {
		return fmt.Errorf("set id map of %s: %w", to, err)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(to) })
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
	return nil
}
