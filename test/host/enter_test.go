//go:build host

package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/agent/enter"
)

// inside is what a program that was started in a container tells of itself, and
// waits: its pid on the host, as procfs of the host has it, and where it is.
const inside = `read pid rest < /proc/self/stat; echo "$pid"; pwd; cat /proc/self/uid_map; ls /proc/self/fd | tr "\n" " "; echo; read word; exit 7`

// entered starts a call that ends in inside, and holds it against the kernel.
func entered(t *testing.T, c *exec.Cmd, member int, uid, gid int, cgroup string) {
	t.Helper()
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	node, err := os.Open("/") // what the caller has open
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	c.ExtraFiles = []*os.File{node}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer stop(c)
	var lines []string
	for scan := bufio.NewScanner(stdout); len(lines) < 4 && scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	if len(lines) < 4 {
		_ = c.Wait()
		t.Fatalf("%v: %q %s", c.Args, lines, stderr.String())
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
		theirs, err1 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", member, k))
		its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, k))
		if err1 != nil || err2 != nil || theirs != its {
			t.Errorf("%s namespace: %s, the container's is %s; %v %v", k, its, theirs, err1, err2)
		}
	}
	want, _ := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", member))
	got, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("uid_map %q, the container's is %q; %v", got, want, err)
	}
	f, ok := readFacts(pid)
	if !ok || f.Cgroup != cgroup {
		t.Errorf("cgroup %q, want %q", f.Cgroup, cgroup)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]int{"Uid": uid, "Gid": gid} {
		if line := fmt.Sprintf("\n%s:\t%d\t%[2]d\t%[2]d\t%[2]d\n", name, id); !strings.Contains(string(status), line) {
			t.Errorf("want %q in\n%s", line, status)
		}
	}
	if lines[1] != "/" {
		t.Errorf("working directory %q", lines[1])
	}
	if filepath.Base(c.Path) != "sh" && lines[3] != "0 1 2 3 " { // 3 is the directory that ls reads
		t.Errorf("descriptors inside: %s", lines[3])
	}
	if _, err := fmt.Fprintln(in, "go"); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != 7 {
		t.Errorf("exit status: %v %s", err, stderr.String())
	}
}

// TestEnter: what is printed, run by sh, and --run, start a program that is in all
// namespaces of a container inside a container, has the ids that were asked for,
// and is in its cgroup.
func TestEnter(t *testing.T) {
	cgroup, _ := cgroupOfOwn(t, nil)
	a := startAgent(t, "")
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	ids := []syscall.SysProcIDMap{{HostID: 310000, Size: 65536}}
	c := exec.Command("sh", "-c", "unshare --user --map-root-user --pid --fork --mount --uts --ipc --net --cgroup --time sleep 74000 & wait")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(dir.Fd()),
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(c) })
	f, ok := readFacts(c.Process.Pid)
	if !ok || filepath.Base(f.Cgroup) != filepath.Base(cgroup) {
		t.Fatalf("%+v is not in %s", f, cgroup)
	}
	var outer, inner string
	var member int
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, a.done, func() error {
		tree, err := a.Client.Tree(ctx)
		for _, n := range tree {
			if int(n.InitPID) != c.Process.Pid {
				continue
			}
			// unshare itself waits beside it, in its user namespace alone.
			for queue := n.Children; len(queue) > 0; queue = queue[1:] {
				below := queue[0]
				queue = append(queue, below.Children...)
				if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", below.InitPID)); string(comm) == "sleep\n" {
					outer, inner, member = n.ID, below.ID, int(below.InitPID)
					return nil
				}
			}
		}
		return errors.Join(err, errors.New("no container in it yet"))
	}); err != nil {
		t.Fatal(err)
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var last string
	for name, e := range map[string]struct {
		chain    string
		member   int
		args     []string
		uid, gid int
	}{
		"container in a container": {outer + "/" + inner, member, nil, 310000, 310000},
		"container":                {outer, c.Process.Pid, nil, 310000, 310000},
		"user":                     {outer, c.Process.Pid, []string{"--user", "1000:1001"}, 311000, 311001},
	} {
		t.Run(name, func(t *testing.T) {
			call := append([]string{"enter", e.chain}, e.args...)
			command := []string{"--", "sh", "-c", inside}
			// Not a.eyas, whose flags come last.
			at := []string{"--socket", a.Socket}
			script, stderr, code := runEyas(t, append(append(call, at...), command...)...)
			if code != 0 {
				t.Fatal(stderr)
			}
			last = script
			entered(t, exec.Command("sh", "-c", script+"exit $?"), e.member, e.uid, e.gid, f.Cgroup)
			entered(t, exec.Command(bin, append(append(append(call, at...), "--run"), command...)...), e.member, e.uid, e.gid, f.Cgroup)
			if p := ask[enter.Plan](t, a, call...); int(p.PID) != e.member || int(p.HostUID) != e.uid || len(p.Cgroups) == 0 {
				t.Errorf("%+v", p)
			}
		})
	}
	own, ok := readFacts(os.Getpid())
	if !ok {
		t.Fatal("no /proc")
	}
	entered(t, exec.Command(bin, "enter", outer, "--socket", a.Socket, "--run", "--no-cgroup", "--", "sh", "-c", inside), c.Process.Pid, 310000, 310000, own.Cgroup)

	stop(c)
	if out, err := exec.Command("sh", "-c", last+"exit $?").CombinedOutput(); err == nil || strings.Contains(string(out), "\n0 ") {
		t.Errorf("entered a container that has ended: %s", out)
	}
	ended := func() error {
		if _, stderr, code := a.eyas("enter", outer); code != 3 || !strings.Contains(stderr, "it has ended") {
			return fmt.Errorf("%d %s", code, stderr)
		}
		return nil
	}
	if err := poll(ctx, a.done, ended); err != nil {
		t.Error(err)
	}
}
