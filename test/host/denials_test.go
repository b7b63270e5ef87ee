//go:build host

package host

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/agent/explain"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// shell is a shell in namespaces of its own, with 1000 ids, that does line by
// line what it is told.
type shell struct {
	t     *testing.T
	pid   int
	in    io.Writer
	out   *bufio.Reader
	lines int
}

func startShell(t *testing.T, cgroup string, deny bool) *shell {
	t.Helper()
	c := exec.Command("sh")
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	host, err := os.Open("/proc/self/ns/uts") // a namespace of the node's, as descriptor 3
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	c.ExtraFiles = []*os.File{host}
	c.Dir = t.TempDir()
	for dir := c.Dir; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	c.Stderr = os.Stderr
	whole := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 300000, Size: 1000}}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
		UidMappings: whole, GidMappings: whole, GidMappingsEnableSetgroups: !deny, Credential: &syscall.Credential{NoSetGroups: deny},
		UseCgroupFD: true, CgroupFD: int(dir.Fd()),
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); stop(c) })
	s := &shell{t: t, pid: c.Process.Pid, in: in, out: bufio.NewReader(out)}
	s.do("busybox mount -t proc proc /proc")
	return s
}

// do returns what a command printed.
func (s *shell) do(command string) string {
	s.t.Helper()
	s.lines++
	mark := fmt.Sprintf("-- %d --", s.lines)
	if _, err := fmt.Fprintf(s.in, "(%s) </dev/null 2>&1; echo '%s'\n", command, mark); err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: %v after %s", command, err, all.String())
		}
		if strings.TrimSpace(line) == mark {
			return all.String()
		}
		all.WriteString(line)
	}
}

// refusedOne is an answer of eyas explain.
type refusedOne struct {
	identity.DenialAnswer
	explain.Refusal
}

// container is the id of the one that a process is in.
func (a *agent) container(pid int) string {
	a.t.Helper()
	var id string
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, a.done, func() error {
		who, err := a.Client.PID(ctx, identity.HostPID(pid))
		if err != nil {
			return err
		}
		last := who.Chain[len(who.Chain)-1]
		if last.Kind != "container" {
			return errors.New("it is in no container")
		}
		id = last.ID
		return nil
	}); err != nil {
		a.t.Fatalf("container of pid %d: %v", pid, err)
	}
	return id
}

// refusals are by "op error cause detail".
func (a *agent) refusals(chain string) map[string]refusedOne {
	a.t.Helper()
	out, stderr, code := a.eyas("explain", chain, "--follow=false", "-o", "json")
	if code != 0 && !strings.Contains(stderr, "nothing of it was refused") {
		a.t.Fatalf("explain %s: %s", chain, stderr)
	}
	all := map[string]refusedOne{}
	var list []refusedOne
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		a.t.Fatalf("explain %s: %v: %s", chain, err, out)
	}
	for _, r := range list {
		if r.Chain[len(r.Chain)-1].ID != chain {
			r.Op = "inside: " + r.Op
		}
		k := strings.TrimSpace(r.Op + " " + r.Error + " " + r.DenialAnswer.Cause + " " + r.Capability + r.Limit)
		if r.Op == "call" {
			k += " " + r.Syscall
		}
		all[k] = r
	}
	return all
}

// denialHooks are the agent's states of them, by name, when it has tried.
func denialHooks(t *testing.T, a *agent) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	states := map[string]string{}
	if err := poll(ctx, a.done, func() error {
		h, err := a.Client.Health(ctx)
		if err != nil {
			return err
		}
		for _, k := range h.Hooks {
			if !strings.HasPrefix(k.Name, "denials_") {
				continue
			}
			states[k.Name] = k.State + ": " + k.Reason
			if strings.Contains(k.Reason, "not attached yet") || k.Reason == "not driven" {
				return errors.New(k.Name + " is " + states[k.Name])
			}
		}
		return nil
	}); err != nil {
		t.Fatalf("denial hooks: %v", err)
	}
	if len(states) == 0 {
		t.Fatal("the agent names no denial hooks")
	}
	return states
}
