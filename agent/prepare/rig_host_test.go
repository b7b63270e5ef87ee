//go:build host

package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/identity"
)

func TestMain(m *testing.M) {
	if os.Getenv(agentVar) != "" {
		runAgent()
		return
	}
	m.Run()
}

// prefix is in the path of every cgroup that a test touches.
const prefix = "eyas-prepare-test-"

// rig is a cgroup, a state directory and containers that are the test's own.
type rig struct {
	*testing.T
	mount, top string // of cgroup2; the test's cgroup below it
	dir        string // the agent's state
	etc        string // of the containers: empty files
	all        []*container
}

// testPool is small, so that ranges are used again soon, and is not the default.
var testPool = subid.Range{Start: 1<<30 + 1<<27, Count: 12 * subid.BlockSize}

func newRig(t *testing.T) *rig {
	t.Helper()
	o, err := delegation.ReadMountOptions("/proc")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, mount: o.MountPoint, top: "/" + prefix + fmt.Sprint(os.Getpid()), dir: t.TempDir(), etc: t.TempDir()}
	for _, name := range fileNames {
		if err := os.WriteFile(filepath.Join(r.etc, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(r.abs(""), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.remove)
	return r
}

// abs is the only way in which tests name a cgroup.
func (r *rig) abs(rel string) string { return filepath.Join(r.mount, r.top, rel) }

func (r *rig) remove() {
	for _, c := range r.all {
		c.end()
	}
	var dirs []string
	_ = filepath.WalkDir(r.abs(""), func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, p)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		if err := os.Remove(d); err != nil {
			r.Error(err)
		}
	}
}

// options are those of the agent: the helper process's, and this one's.
func (r *rig) options() Options { return agentOptions(r.dir, r.mount) }

func agentOptions(dir, mount string) Options {
	return Options{
		Dir: filepath.Join(dir, "leases"), Files: filepath.Join(dir, "subids"), Mount: mount, Sys: "/sys", Boot: "this-boot",
		Host:  sources.Host{Etc: filepath.Join(dir, "etc"), Proc: "/proc", Kubelet: filepath.Join(dir, "kubelet"), Own: "eyas"},
		Pool:  subid.Options{Range: testPool, Quarantine: time.Nanosecond},
		Known: func() ([]sources.Namespace, error) { return nil, nil },
	}
}

func (r *rig) open() *Preparer {
	r.Helper()
	p, err := Open(r.options())
	if err != nil {
		r.Fatal(err)
	}
	return p
}

func (r *rig) close(p *Preparer) {
	r.Helper()
	if err := p.Close(); err != nil {
		r.Fatal(err)
	}
}

// container is a parked process in a cgroup and a mount namespace of its own.
type container struct {
	cgroup string // below the mount
	id     uint64
	own    bool // ids of its own
	cmd    *exec.Cmd
	users  []*exec.Cmd // processes with ids of its range, elsewhere

	lease  string // told by the agent
	done   bool   // was told so
	forced bool   // somebody tried to take it back by force
}

func (r *rig) start(name string, own bool) *container {
	r.Helper()
	dir := r.abs(name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		r.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		r.Fatal(err)
	}
	c := &container{cgroup: filepath.Join(r.top, name), id: st.Ino, own: own, cmd: r.park(dir, own)}
	r.all = append(r.all, c)
	return c
}

// park starts a process in a cgroup; its /etc is r.etc.
func (r *rig) park(dir string, own bool) *exec.Cmd {
	r.Helper()
	f, err := os.Open(dir)
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("sleep", "76000")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(f.Fd()), Credential: &syscall.Credential{Uid: 1000, Gid: 1000},
	}
	if own {
		whole := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 300000, Size: 65536}}
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = whole, whole
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	} else {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { stop(cmd) })
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", cmd.Process.Pid))
	if err != nil {
		r.Fatal(err)
	}
	defer ns.Close()
	if err := inMountNamespace(ns, func() error { return unix.Mount(r.etc, "/etc", "", unix.MS_BIND, "") }); err != nil {
		r.Fatal(err)
	}
	return cmd
}

func stop(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func (c *container) pid() identity.HostPID { return identity.HostPID(c.cmd.Process.Pid) }
func (c *container) alive() bool           { return c.cmd.ProcessState == nil }

func (c *container) end() {
	stop(c.cmd)
	for _, u := range c.users {
		stop(u)
	}
}

// use starts a process outside of the container with an id of its range, as a
// container inside that got away.
func (r *rig) use(c *container, id uint32) {
	r.Helper()
	cmd := exec.Command("sleep", "76001")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { stop(cmd) })
	c.users = append(c.users, cmd)
}

// owners returns what of a container's cgroup is not root's.
func (r *rig) owners(c *container) (out []string) {
	r.Helper()
	dir := filepath.Join(r.mount, c.cgroup)
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(p, &st)
		}
		if err == nil && (st.Uid != 0 || st.Gid != 0) {
			out = append(out, fmt.Sprintf("%s of %d:%d", strings.TrimPrefix(p, dir), st.Uid, st.Gid))
		}
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return out
}

// reconcile does so until nothing waits: on a busy machine a proof may take
// several looks.
func (r *rig) reconcile(p *Preparer) Report {
	r.Helper()
	var rep Report
	for range 100 {
		var err error
		if rep, err = p.Reconcile(r.Context()); err != nil {
			r.Fatal(err)
		}
		if len(rep.Waiting) == 0 {
			return rep
		}
	}
	r.Fatalf("still waiting: %+v\n%+v", rep, p.ledger.List())
	return rep
}

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

// forget removes the cgroup of a container that is over.
func (r *rig) forget(c *container) {
	r.Helper()
	dir := filepath.Join(r.mount, c.cgroup)
	if err := os.Remove(filepath.Join(dir, leaf)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Error(err)
	}
	if err := os.Remove(dir); err != nil {
		r.Error(err)
	}
	r.all = slices.DeleteFunc(r.all, func(o *container) bool { return o == c })
}

func (c *container) pidText() string { return strconv.Itoa(c.cmd.Process.Pid) }

// command is a process in a cgroup that shares with the host what flags leave.
func command(cgroup int, flags uintptr) *exec.Cmd {
	cmd := exec.Command("sleep", "76002")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: cgroup, Cloneflags: flags, Credential: &syscall.Credential{Uid: 1000, Gid: 1000},
	}
	return cmd
}
