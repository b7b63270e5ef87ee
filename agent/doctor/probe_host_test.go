//go:build host

package doctor

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// worldReadable makes this test's program one that uid 65534 may run.
func worldReadable(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(self); err != nil || info.Mode()&0o001 != 0 {
		return
	}
	if err := os.Chmod(self, 0o755); err != nil {
		t.Fatal(err)
	}
}

// onDisk is a directory that is not on a tmpfs, which cannot be idmapped before
// Linux 6.3.
func onDisk(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "eyas")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func mountsNow(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProbes tries them on this kernel, which must allow all, and sees that
// nothing stays behind.
func TestProbes(t *testing.T) {
	worldReadable(t)
	before := mountsNow(t)
	n := NewNode(NodeOptions{StateDir: onDisk(t)})
	for _, c := range nodeChecks() {
		if !c.probe {
			continue
		}
		if got := c.look(n, t.Context()); got.state != OK {
			t.Errorf("%s: %+v", c.id, got)
		}
	}
	if diff := cmp.Diff(before, mountsNow(t)); diff != "" {
		t.Errorf("mounts (-before +after):\n%s", diff)
	}
	for _, name := range []string{"lower", "upper", "merged"} {
		if _, err := os.Stat("/tmp/" + name); err == nil {
			t.Errorf("/tmp/%s is there", name)
		}
	}
}

// TestProbeIDMapRefused: procfs cannot be idmapped, and the probe says so.
func TestProbeIDMapRefused(t *testing.T) {
	b, err := helper(t.Context(), nil, probeIDMap, "", "/proc", onDisk(t), "/absent")
	if err != nil {
		t.Fatal(err)
	}
	var got []idmapped
	dec := json.NewDecoder(strings.NewReader(string(b)))
	for dec.More() {
		var a idmapped
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		got = append(got, a)
	}
	if len(got) != 3 || got[0].Errno != int(unix.EINVAL) || got[1].Error != "" || got[2].Errno != int(unix.ENOENT) {
		t.Errorf("got %+v", got)
	}
	if f := judgeIDMap(got[:2], parseMounts(mountsNow(t)), ""); f.state != Warn {
		t.Errorf("got %+v", f)
	}
}

// TestProbeOverlayAtHome: the overlay is never mounted in the node's namespaces.
func TestProbeOverlayAtHome(t *testing.T) {
	if err := Probe([]string{probeOverlay}, nil, nil); err == nil || !strings.Contains(err.Error(), "not in a user namespace") {
		t.Errorf("got %v", err)
	}
}

// TestProbeKilled: a probe that hangs is ended with its children.
func TestProbeKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done := make(chan error, 1)
	go func() {
		c := exec.CommandContext(ctx, "/proc/self/exe", ProbeArg, probeHold)
		c.Stdin = r
		done <- c.Run()
	}()
	cancel()
	if err := <-done; err == nil {
		t.Error("it ended by itself")
	}
	w.Close()
}

// TestRealContainer looks at a process in user, pid and mount namespaces of its
// own, with a device over a part of its /proc.
func TestRealContainer(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := exec.Command("/bin/sh", "-c", "mount -t proc proc /proc && mount --bind /dev/null /proc/meminfo && echo ready && exec cat")
	ids := []syscall.SysProcIDMap{{HostID: 300000, Size: 65536}}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL,
	}
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = w, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer func() {
		stdin.Close()
		_ = c.Wait()
	}()
	if _, err := r.Read(make([]byte, 16)); err != nil {
		t.Fatalf("the container did not start: %v", err)
	}
	box, err := OpenContainer(NewNode(NodeOptions{}), ContainerOptions{PID: c.Process.Pid, Cgroup: "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	results := box.Check(t.Context())
	at := func(id string) Result {
		return results[slices.IndexFunc(results, func(r Result) bool { return r.ID == id })]
	}
	if got := at("userns"); got.State != OK || !strings.Contains(got.Found, "0→300000 +65536") {
		t.Errorf("userns: %+v", got)
	}
	if got := at("proc-unmasked"); got.State != Fail || !strings.Contains(got.Found, "/proc/meminfo") {
		t.Errorf("proc-unmasked: %+v", got)
	}
	if got := at("no-new-privs"); got.State != OK {
		t.Errorf("no-new-privs: %+v", got)
	}
	// The machine's newuidmap is setuid to a root that is not the container's.
	if got := at("newuidmap"); got.State != Fail && !strings.Contains(got.Found, "file capabilities") {
		t.Errorf("newuidmap: %+v", got)
	}
	if err := box.Alive(); err != nil {
		t.Error(err)
	}
	stdin.Close()
	_ = c.Wait()
	if err := box.Alive(); err == nil {
		t.Error("it has ended, and is said to live")
	}
}

// TestFileCaps reads what setcap wrote.
func TestFileCaps(t *testing.T) {
	if _, err := exec.LookPath("setcap"); err != nil {
		t.Fatal("setcap is not installed: run test/deps test")
	}
	path := filepath.Join(t.TempDir(), "tool")
	write(t, path, "x")
	if out, err := exec.Command("setcap", "cap_setuid+ep", path).CombinedOutput(); err != nil {
		t.Fatalf("setcap: %v: %s", err, out)
	}
	got, err := tree{"/", ""}.fileCaps(path)
	if err != nil || !got.has(unix.CAP_SETUID) || got.has(unix.CAP_SETGID) {
		t.Errorf("got %+v, %v", got, err)
	}
}
