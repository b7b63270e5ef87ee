//go:build host

package starts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	spec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/test/cri"
)

func TestSandboxIsPrepared(t *testing.T) {
	n := theNode(t)
	a := n.agent(t, "")
	p1, c1 := n.run(t, sandbox("true"))
	p2, c2 := n.run(t, sandbox("build"))
	l1, l2 := a.wantLease(c1, ledger.Done), a.wantLease(c2, ledger.Done)
	if l1.Range.Overlaps(l2.Range) || l1.Range.Empty() || l2.Range.Empty() {
		t.Errorf("two pods have %s and %s", l1.Range, l2.Range)
	}
	if l1.Profile != "dev" || l2.Profile != "build" {
		t.Errorf("profiles are %q and %q", l1.Profile, l2.Profile)
	}
	checkSandbox(t, a, c1, l1, "512")
	checkSandbox(t, a, c2, l2, "128")
	if got := a.metric("eyas_unprepared_containers"); got != 0 {
		t.Errorf("%v containers are unprepared", got)
	}
	remove(t, p1)
	remove(t, p2)
	for c, was := range map[*cri.Container]ledger.Lease{c1: l1, c2: l2} {
		if l := a.wantLease(c, ledger.Tombstone); l.Range != was.Range || l.Proof == "" {
			t.Errorf("lease %+v became %+v", was, l)
		}
		if _, err := os.Stat(filepath.Join(a.dir, "subids", c.ID)); !os.IsNotExist(err) {
			t.Errorf("files of the lease: %v", err)
		}
	}
}

// checkSandbox holds a container against its lease: by the spec that runc got, from
// inside, and in the cgroup.
func checkSandbox(t *testing.T, a *agent, c *cri.Container, l ledger.Lease, descendants string) {
	t.Helper()
	s, pid := ociSpec(t, c)
	want := fmt.Sprintf("%d:%d:%d\n", user, l.Range.Start, l.Range.Count)
	mountinfo := inside(t, c, "cat", "/proc/self/mountinfo")
	for _, name := range []string{"subuid", "subgid"} {
		file := "/etc/" + name
		m := mountAt(s, file)
		if m == nil || m.Source != filepath.Join(a.dir, "subids", c.ID, name) || !slices.Contains(m.Options, "ro") {
			t.Errorf("%s in the spec: %+v", file, m)
		}
		if got := inside(t, c, "cat", file); got != want {
			t.Errorf("%s inside is %q, want %q", file, got, want)
		}
		if !strings.Contains(mountinfo, " "+file+" ro,nosuid,nodev,noexec,") {
			t.Errorf("%s is not mounted read-only:\n%s", file, mountinfo)
		}
	}
	for _, path := range []string{"/dev/fuse", "/dev/net/tun"} {
		_, err := os.Stat(path)
		d := deviceAt(s, path)
		switch {
		case err != nil && d != nil:
			t.Errorf("%s, which the machine lacks, is in the spec: %+v", path, d)
		case err == nil && d == nil:
			t.Errorf("%s is not in the spec", path)
		case err == nil:
			inside(t, c, "sh", "-c", ": <"+path) // its user can open it
		}
	}
	checkUnified(t, s, descendants)
	checkCgroup(t, c, l, pid, descendants)
}

// checkUnified: what only cgroup2 can do is left out where it is not at
// /sys/fs/cgroup, because runtimes would refuse it.
func checkUnified(t *testing.T, s spec.Spec, descendants string) {
	t.Helper()
	m := mountAt(s, "/sys/fs/cgroup")
	if m == nil {
		t.Fatal("no /sys/fs/cgroup in the spec")
	}
	bound, ok := s.Linux.Resources.Unified["cgroup.max.descendants"]
	if unified() {
		if bound != descendants || !slices.Contains(m.Options, "rw") {
			t.Errorf("cgroup.max.descendants %q, /sys/fs/cgroup %v", bound, m.Options)
		}
	} else if ok || !slices.Contains(m.Options, "ro") {
		t.Errorf("without cgroup2 at /sys/fs/cgroup: cgroup.max.descendants %q, /sys/fs/cgroup %v", bound, m.Options)
	}
}

// unified reports whether cgroup2 is the only hierarchy.
func unified() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// checkCgroup: the container's cgroup is its user's, with bounds, and its process
// is in the leaf.
func checkCgroup(t *testing.T, c *cri.Container, l ledger.Lease, pid int, descendants string) {
	t.Helper()
	m, err := delegation.ReadMountOptions("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(l.Cgroup) != c.ID {
		t.Fatalf("the lease's cgroup is %s", l.Cgroup)
	}
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(own), "\n0::"+l.Cgroup+"/init\n") && !strings.HasPrefix(string(own), "0::"+l.Cgroup+"/init\n") {
		t.Errorf("the process is in %s", own)
	}
	dir := filepath.Join(m.MountPoint, l.Cgroup)
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control", "init"} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil || st.Uid != user || st.Gid != user {
			t.Errorf("%s is of %d:%d, want %d (%v)", filepath.Join(dir, name), st.Uid, st.Gid, user, err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.max.descendants"))
	if err != nil || strings.TrimSpace(string(b)) != descendants {
		t.Errorf("cgroup.max.descendants is %q, want %s (%v)", b, descendants, err)
	}
}
