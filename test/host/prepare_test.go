//go:build host

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
)

// parked starts a process in a cgroup and a mount namespace of its own, as a
// runtime's parked init is: with a map of 65536 ids and user 1000, or as the
// host's user 1000.
func parked(t *testing.T, cgroup string, ownIDs bool) *exec.Cmd {
	t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("sleep", "74000")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNS,
		Credential: &syscall.Credential{Uid: 1000, Gid: 1000},
	}
	if ownIDs {
		whole := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 300000, Size: 65536}}
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = whole, whole
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	} else {
		// Its mounts are its own, as a container's are.
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
		cmd.SysProcAttr.Cloneflags = 0
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(cmd) })
	return cmd
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // may be dead
	_ = cmd.Wait()
}

// ask runs a command that answers with JSON.
func ask[T any](t *testing.T, a *agent, call ...string) T {
	t.Helper()
	out, stderr, code := a.eyas(append(call, "-o", "json")...)
	if code != 0 {
		t.Fatalf("%v: %s", call, stderr)
	}
	var v T
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v: %v: %s", call, err, out)
	}
	return v
}

func ownerOf(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

// TestPrepareOwnIDs: a container with a map of its own gets ranges of that, its
// cgroup, and the files; all is taken back when it has ended.
func TestPrepareOwnIDs(t *testing.T) {
	cgroup, _ := cgroupOfOwn(t, nil)
	a := startAgent(t, "")
	c := parked(t, cgroup, true)
	pid := fmt.Sprint(c.Process.Pid)

	plan := ask[prepare.Result](t, a, "prepare", "--pid", pid, "--dry-run")
	if len(plan.Actions) == 0 || ownerOf(t, cgroup) != "0:0" || len(ask[[]ledger.Lease](t, a, "leases")) != 0 {
		t.Fatalf("a dry run did something, or nothing: %+v", plan)
	}
	r := ask[prepare.Result](t, a, "prepare", "--pid", pid)
	const lines = "1000:1:999\n1000:1001:64535\n"
	if r.Lease.State != ledger.Done || r.Subuid != lines || r.Subgid != lines {
		t.Errorf("%+v", r)
	}
	for _, f := range []string{"", "cgroup.procs", "cgroup.subtree_control", "init", "init/cgroup.procs"} {
		if got := ownerOf(t, filepath.Join(cgroup, f)); got != "301000:301000" {
			t.Errorf("%q belongs to %s", f, got)
		}
	}
	for _, f := range []string{"cgroup.max.descendants", "cgroup.max.depth"} {
		if got := ownerOf(t, filepath.Join(cgroup, f)); got != "0:0" {
			t.Errorf("%s belongs to %s: its bound can be lifted", f, got)
		}
	}
	if f, _ := readFacts(c.Process.Pid); filepath.Base(f.Cgroup) != "init" {
		t.Errorf("the process is in %s", f.Cgroup)
	}
	inside := filepath.Join("/proc", pid, "root/etc/subuid")
	if b, err := os.ReadFile(inside); err != nil || string(b) != lines {
		t.Errorf("/etc/subuid inside: %q, %v", b, err)
	}
	if b, err := os.ReadFile("/etc/subuid"); err != nil || string(b) == lines {
		t.Errorf("/etc/subuid of the host: %q, %v", b, err)
	}
	if err := os.WriteFile(inside, []byte("x"), 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("write to /etc/subuid inside: %v", err)
	}
	again := ask[prepare.Result](t, a, "prepare", "--pid", pid)
	if again.Lease.ID != r.Lease.ID || again.Lease.State != ledger.Done {
		t.Errorf("prepared twice: %+v", again)
	}

	if _, stderr, code := a.eyas("release", r.Lease.ID); code == 0 || !strings.Contains(stderr, "still runs") {
		t.Errorf("released while it runs: %d %s", code, stderr)
	}
	stop(c)
	gone := ask[prepare.Result](t, a, "release", r.Lease.ID)
	if gone.Lease.State != ledger.Tombstone || ownerOf(t, cgroup) != "0:0" {
		t.Errorf("%+v, cgroup of %s", gone.Lease, ownerOf(t, cgroup))
	}
	if _, err := os.Stat(filepath.Join(a.State, "subids", r.Lease.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its files are left: %v", err)
	}
}

// TestPrepareHostRange: a container in the host's user namespace gets a range of
// host ids with which newuidmap works, and which is free again only when nobody
// has it any more.
func TestPrepareHostRange(t *testing.T) {
	cgroup, _ := cgroupOfOwn(t, nil)
	a := startAgent(t, "")
	c := parked(t, cgroup, false)
	r := ask[prepare.Result](t, a, "prepare", "--pid", fmt.Sprint(c.Process.Pid))
	ids := r.Lease.Range
	if ids.Count != 65536 || ids.Start < 1<<30 || ids.Start%65536 != 0 || r.Subuid != fmt.Sprintf("1000:%d:65536\n", ids.Start) {
		t.Fatalf("%+v", r)
	}
	// A second container has other ids.
	other := filepath.Join(cgroup, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	c2 := parked(t, other, false)
	r2 := ask[prepare.Result](t, a, "prepare", "--pid", fmt.Sprint(c2.Process.Pid))
	if r2.Lease.Range.Empty() || r2.Lease.Range.Overlaps(ids) {
		t.Errorf("%s overlaps %s", r2.Lease.Range, ids)
	}
	stop(c2)
	if gone := ask[prepare.Result](t, a, "release", r2.Lease.ID); gone.Lease.State != ledger.Tombstone {
		t.Errorf("%+v", gone.Lease)
	}
	if err := os.Remove(filepath.Join(other, "init")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.Remove(other); err != nil {
		t.Error(err)
	}

	nested := exec.Command("nsenter", "--target", fmt.Sprint(c.Process.Pid), "--mount", "setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups",
		"sh", "-c", fmt.Sprintf("unshare --user sleep 74001 & while ! newuidmap $! 0 1000 1 1 %d 65536; do :; done; echo mapped; wait", ids.Start))
	nested.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := nested.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := nested.Start(); err != nil {
		t.Fatal(err)
	}
	killNested := func() {
		_ = unix.Kill(-nested.Process.Pid, unix.SIGKILL) // may be dead
		_ = nested.Wait()
	}
	t.Cleanup(killNested)
	said := make([]byte, 6)
	if _, err := out.Read(said); err != nil || string(said) != "mapped" {
		t.Fatalf("newuidmap with the leased range: %q, %v", said, err)
	}
	stop(c)
	_, stderr, code := a.eyas("release", r.Lease.ID)
	if code == 0 || !strings.Contains(stderr, "alive") {
		t.Errorf("a range in use was freed: %d %s", code, stderr)
	}
	for _, l := range ask[[]ledger.Lease](t, a, "leases") {
		if l.ID == r.Lease.ID && (l.State != ledger.Releasing || !strings.Contains(l.Proof, "alive")) {
			t.Errorf("%+v", l)
		}
	}
	killNested()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, a.done, func() error {
		_, stderr, code := a.eyas("release", r.Lease.ID)
		if code != 0 {
			return errors.New(stderr)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
