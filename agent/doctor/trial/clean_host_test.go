//go:build host

package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/cgroups"
)

// TestMain is also what Run starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == Arg {
		_, err := Main(os.Args[2:], os.Stdin, os.Stdout)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // as main
		}
		os.Exit(0) //nolint:forbidigo // as main
	}
	os.Exit(m.Run()) //nolint:forbidigo // as main
}

func makeTop(t *testing.T) (top *os.File, path string) {
	t.Helper()
	h, err := cgroups.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	path = filepath.Join(h.Mount(), fmt.Sprintf("eyas-trial-%d", os.Getpid()))
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})
	if top, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { top.Close() })
	return top, path
}

// TestClean: what a killed trial left is removed, as soon as its processes are
// gone; what has a process of somebody else stays, and is told.
func TestClean(t *testing.T) {
	top, path := makeTop(t)
	if err := clean(top, "eyas-try-x"); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	if err := clean(top, ""); err == nil {
		t.Error("removed a cgroup without a name")
	}
	dir := filepath.Join(path, "eyas-try-x")
	leaf := filepath.Join(dir, leafName)
	for _, d := range []string{dir, leaf} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(leaf)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := exec.Command("sleep", "75010")
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd()), Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	err = clean(top, "eyas-try-x")
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "cgroup eyas-try-x is left") {
		t.Errorf("with a process: %v", err)
	}
	_ = c.Process.Kill()
	if err := clean(top, "eyas-try-x"); err != nil { // not waited for
		t.Error(err)
	}
	_ = c.Wait()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
}

// TestSealed: the program that a container may get hold of cannot be changed.
func TestSealed(t *testing.T) {
	f, err := sealedSelf()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if w, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		if _, err := w.Write([]byte("x")); !errors.Is(err, unix.EPERM) {
			t.Errorf("write: %v", err)
		}
		w.Close()
	}
	if err := unix.Ftruncate(int(f.Fd()), 0); err == nil {
		t.Error("truncated")
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE); !errors.Is(err, unix.EPERM) {
		t.Errorf("seal: %v", err)
	}
}

// TestRunGone: a first process that is another one by now is not entered.
func TestRunGone(t *testing.T) {
	c := exec.Command("sleep", "75011")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	proc, err := os.OpenFile(fmt.Sprintf("/proc/%d", c.Process.Pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	_ = c.Process.Kill()
	_ = c.Wait()
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	// The pid is that of this test: alive, and not the process pinned.
	_, err = Run(context.WithoutCancel(t.Context()), Container{Proc: proc, Root: root}, Request{PID: os.Getpid()})
	if err == nil || !strings.Contains(err.Error(), "first process has ended") {
		t.Errorf("got %v", err)
	}
}

// TestInsideAtHome: nothing is tried outside of a pid namespace of its own.
func TestInsideAtHome(t *testing.T) {
	if _, err := Main([]string{stageInside}, strings.NewReader("{}"), nil); err == nil || !strings.Contains(err.Error(), "not in a pid namespace") {
		t.Errorf("got %v", err)
	}
}
