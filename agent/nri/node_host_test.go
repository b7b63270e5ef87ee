//go:build host

package nri

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/agent/subid/sources"
)

// prefix is in the path of every cgroup that a test touches.
const prefix = "eyas-nri-test-"

// block is the map of the tests' user namespaces: ids that nobody has.
const block = 805306368

// watched is a Preparer whose Drop can be waited for.
type watched struct {
	*prepare.Preparer
	dropped chan error
}

func (w *watched) Drop(ctx context.Context, id string) (prepare.Result, error) {
	r, err := w.Preparer.Drop(ctx, id)
	w.dropped <- err
	return r, err
}

// node is a rig with the real preparer and a cgroup of its own.
type node struct {
	*rig
	w     *watched
	mount string
	top   string
}

func newNode(t testing.TB, change func(*Options)) *node {
	t.Helper()
	m, err := delegation.ReadMountOptions("/proc")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{mount: m.MountPoint, top: "/" + prefix + strconv.Itoa(os.Getpid())}
	dir := t.TempDir()
	p, err := prepare.Open(prepare.Options{
		Dir: filepath.Join(dir, "leases"), Files: filepath.Join(dir, "subids"), Mount: n.mount, Sys: "/sys", Boot: "boot-of-the-test",
		Host:  sources.Host{Etc: "/etc", Proc: "/proc", Kubelet: filepath.Join(dir, "kubelet"), Own: "eyas"},
		Known: func() ([]sources.Namespace, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	n.w = &watched{p, make(chan error, 1000)}
	n.rig = newRig(t, func(o *Options) {
		o.Preparer = n.w
		if change != nil {
			change(o)
		}
	})
	return n
}

// abs is the absolute path of something below the test's cgroup. It is the only
// way in which tests name a file of cgroup2.
func (n *node) abs(rel string) string {
	p := filepath.Join(n.mount, n.top, rel)
	if !strings.HasPrefix(p, filepath.Join(n.mount, "/")+"/"+prefix) {
		n.Fatalf("%s is not the test's own", p)
	}
	return p
}

func (n *node) read(rel string) string {
	n.Helper()
	b, err := os.ReadFile(n.abs(rel))
	if err != nil {
		n.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// cgroup makes a container's cgroup.
func (n *node) cgroup(name string) {
	n.Helper()
	if err := os.MkdirAll(n.abs(name), 0o755); err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() {
		for _, d := range []string{name + "/init", name, ""} {
			if err := os.Remove(n.abs(d)); err != nil && !os.IsNotExist(err) && d != "" {
				n.Error(err)
			}
		}
	})
}

// park starts a process in a cgroup, as root of a user namespace of its own. The
// function returned ends it.
func (n *node) park(cgroup string) (pid int, end func()) {
	n.Helper()
	return n.parkAs(cgroup, 0)
}

func (n *node) parkAs(cgroup string, id uint32) (pid int, end func()) {
	n.Helper()
	d, err := os.Open(n.abs(cgroup))
	if err != nil {
		n.Fatal(err)
	}
	defer d.Close()
	m := []syscall.SysProcIDMap{{ContainerID: 0, HostID: block, Size: 65536}}
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), helper+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(d.Fd()), Cloneflags: syscall.CLONE_NEWUSER, UidMappings: m, GidMappings: m,
		Credential: &syscall.Credential{Uid: id, Gid: id, NoSetGroups: true},
	}
	in, err := c.StdinPipe()
	if err != nil {
		n.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		n.Fatal(err)
	}
	if err := c.Start(); err != nil {
		n.Fatal(err)
	}
	end = func() {
		if c.ProcessState == nil {
			in.Close()
			_ = c.Wait()
		}
	}
	n.Cleanup(end)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		n.Fatalf("helper: %q, %v", line, err)
	}
	return c.Process.Pid, end
}

func (n *node) lease(id string, want ledger.State) ledger.Lease {
	n.Helper()
	l, ok := n.w.Lease(id)
	if !ok || l.State != want {
		n.Errorf("lease %s is %q, want %q:\n%s", id, l.State, want, n.log)
	}
	return l
}

func (n *node) wait() {
	n.Helper()
	select {
	case err := <-n.w.dropped:
		if err != nil {
			n.Error(err)
		}
	case <-time.After(patience):
		n.Fatalf("no lease is dropped:\n%s", n.log)
	}
}
