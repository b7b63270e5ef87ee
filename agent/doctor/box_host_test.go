//go:build host

package doctor

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// box is a container that a shell makes of this machine's programs.
type box struct {
	t      *testing.T
	dir    string // its cgroup on the host
	pid    int
	stdin  *os.File
	result map[string]Result
}

// tools gives the container its own newuidmap and newgidmap, with file
// capabilities that count in its user namespace, and ranges.
const tools = `
mount -t tmpfs -o mode=755 tmpfs /usr/local/bin
for id in uid gid; do
	cp /usr/bin/new${id}map /usr/local/bin/
	chmod u-s /usr/local/bin/new${id}map
	setcap cap_set${id}+ep /usr/local/bin/new${id}map
	echo 1000:2000:60000 >/usr/local/bin/sub$id
	mount --bind /usr/local/bin/sub$id /etc/sub$id
done
echo 'dev:x:1000:1000::/:/bin/sh' >/usr/local/bin/passwd
mount --bind /usr/local/bin/passwd /etc/passwd
`

// bare hides the machine's own tools, and does nothing else.
const bare = `
for id in uid gid; do mount --bind /dev/null /usr/bin/new${id}map; done
`

// newBox starts a container: a user namespace of 65536 ids, in which setup runs
// as root, and then prefix (a program, or options of setpriv) and a process of
// uid 1000. With handOver it owns its cgroup.
func newBox(t *testing.T, setup, prefix string, handOver bool) *box {
	t.Helper()
	n := NewNode(NodeOptions{})
	m, err := n.cgroup()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, dir: filepath.Join(m.point, fmt.Sprintf("eyas-doctor-%d-%d", os.Getpid(), unix.Gettid()))}
	leaf := filepath.Join(b.dir, "init")
	for _, dir := range []string{b.dir, leaf} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
	}
	if handOver {
		for _, f := range []string{".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "init", "init/cgroup.procs"} {
			if err := os.Chown(filepath.Join(b.dir, f), 301000, 301000); err != nil {
				t.Fatal(err)
			}
		}
	}
	cgroup, err := os.Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer cgroup.Close()
	options := ""
	if strings.HasPrefix(prefix, "--") {
		prefix, options = "", prefix
	}
	script := "set -e\nmount -t proc proc /proc\nmount -t cgroup2 cgroup2 /sys/fs/cgroup\n" + setup +
		"\nread x\nexec " + prefix + " setpriv --reuid 1000 --regid 1000 --clear-groups " + options + " sh -c 'echo ready; exec cat'"
	c := exec.Command("/bin/sh", "-c", script)
	ids := []syscall.SysProcIDMap{{HostID: 300000, Size: 65536}}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL,
		UseCgroupFD: true, CgroupFD: int(cgroup.Fd()),
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.Stdin, b.stdin, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = w, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		b.stdin.Close()
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	b.pid = c.Process.Pid
	// Its cgroup namespace has its root where it was born; then it goes to a leaf.
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(fmt.Sprint(b.pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	// Natively the v1 hierarchies hold them.
	for _, c := range []string{"memory", "pids"} {
		if err := os.WriteFile(filepath.Join(b.dir, "cgroup.subtree_control"), []byte("+"+c), 0o600); err != nil && os.Getenv("EYAS_VM") != "" {
			t.Fatal(err)
		}
	}
	fmt.Fprintln(b.stdin, "go")
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the container did not start: %q, %v", line, err)
	}
	return b
}

// try tries, and sees that nothing of it is left.
func (b *box) try(ctx context.Context) {
	b.t.Helper()
	before := mountsNow(b.t)
	m, err := NewNode(NodeOptions{}).cgroup()
	if err != nil {
		b.t.Fatal(err)
	}
	b.look(ctx, strings.TrimPrefix(b.dir, m.point)+"/init")
	if mountsNow(b.t) != before {
		b.t.Error("mounts changed")
	}
	b.alone()
}

func (b *box) look(ctx context.Context, cgroup string) {
	b.t.Helper()
	c, err := OpenContainer(NewNode(NodeOptions{}), ContainerOptions{PID: b.pid, Cgroup: cgroup})
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	b.result = map[string]Result{}
	for _, r := range c.Try(ctx) {
		b.result[r.ID] = r
		b.t.Logf("%-16s %-8s %s", r.ID, r.State, r.Found)
	}
}

// alone sees that the container has no cgroup and, at the latest when the kernel
// is done with the dead, no process but its own.
func (b *box) alone() {
	b.t.Helper()
	all, err := filepath.Glob(filepath.Join(b.dir, "*", "cgroup.procs"))
	if err != nil || len(all) != 1 {
		b.t.Errorf("cgroups %v, %v", all, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.pid))
	if state, _ := statusField(string(status), "State"); err != nil || !strings.HasPrefix(state, "S") {
		b.t.Errorf("its first process is in state %q, %v", state, err)
	}
	b.until("the trial's processes are gone", func(procs string) bool { return procs == fmt.Sprint(b.pid) })
}

// until polls the container's processes.
func (b *box) until(what string, is func(procs string) bool) {
	b.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for {
		procs, err := os.ReadFile(filepath.Join(b.dir, "init/cgroup.procs"))
		if err != nil {
			b.t.Fatal(err)
		}
		if is(strings.TrimSpace(string(procs))) {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s: never; processes %q", what, procs)
		case <-tick.C:
		}
	}
}

func (b *box) want(state State, found string, ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		if got := b.result[id]; got.State != state || !strings.Contains(got.Found, found) {
			b.t.Errorf("%s: got %s %q, want %s with %q", id, got.State, got.Found, state, found)
		}
	}
}

// controllers reports whether memory and pids are v2's here.
func (b *box) controllers() bool {
	s, err := os.ReadFile(filepath.Join(b.dir, "cgroup.subtree_control"))
	return err == nil && slices.Contains(strings.Fields(string(s)), "memory")
}
