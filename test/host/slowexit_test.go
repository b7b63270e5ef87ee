//go:build host

package host

import (
	"bufio"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"github.com/prometheus/procfs"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestSlowExit asks who a container's pid 1 is while it exits: it waits for all
// others of its pid namespace to be reaped (pid_namespaces(7)), and one of them
// has a parent outside who is in no hurry. /proc shows it as living all that
// time, with nothing nested about it.
func TestSlowExit(t *testing.T) {
	a := startAgent(t, "")
	start := func(cmd *exec.Cmd, attr *syscall.SysProcAttr) int {
		t.Helper()
		attr.Pdeathsig = syscall.SIGKILL
		cmd.SysProcAttr = attr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatalf("%s: %q: %v", cmd, line, err)
		}
		return cmd.Process.Pid
	}
	const script = "echo ready; sleep 1000"
	pid := start(exec.Command("sh", "-c", script), &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: 100000, Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: 100000, Size: 1}},
	})
	parent := start(exec.Command("nsenter", "-t", fmt.Sprint(pid), "-U", "-p", "sh", "-c", script), &syscall.SysProcAttr{})
	want, err := a.Client.PID(t.Context(), identity.HostPID(pid))
	if err != nil || len(want.Chain) != 2 {
		t.Fatalf("a nested process: %+v, %v", want, err)
	}
	if err := syscall.Kill(parent, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := poll(t.Context(), a.done, func() error {
		if s := procState(t, parent); s != "T" {
			return fmt.Errorf("state %s after SIGSTOP", s)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	answers := map[string]int{}
	for answers["exited"] < 10 {
		id, err := a.Client.PID(t.Context(), identity.HostPID(pid))
		if err != nil || len(id.Chain) != 2 || id.Chain[1].ID != want.Chain[1].ID || id.Host.UID != want.Host.UID || id.PIDs[1] != 1 {
			t.Fatalf("after %v: %+v, %v", answers, id, err)
		}
		answers[id.State]++
	}
	if s := procState(t, pid); s == "Z" {
		t.Errorf("it died before it was asked about: state %s", s)
	}
	if err := syscall.Kill(parent, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// procState is field 3 of /proc/PID/stat, proc(5).
func procState(t *testing.T, pid int) string {
	t.Helper()
	p, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return stat.State
}
