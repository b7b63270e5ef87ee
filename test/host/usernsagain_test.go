//go:build host

package host

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestUserNSNumberAgain starts one container after the other. The kernel gives out
// the lowest free number (ida_alloc), so that each has that of the last one's user
// namespace, and the same owner, but another map.
func TestUserNSNumberAgain(t *testing.T) {
	a := startAgent(t, "")
	again := map[string]int{}
	for i := range 40 {
		host := 100000 + 1000*i
		attr := &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: host, Size: 1000}}, GidMappings: []syscall.SysProcIDMap{{HostID: host, Size: 1000}},
			Credential: &syscall.Credential{NoSetGroups: true}, Pdeathsig: syscall.SIGKILL,
		}
		if i%2 == 1 {
			attr.Cloneflags |= syscall.CLONE_NEWPID
		}
		cmd := exec.Command("sh", "-c", "echo ready; read end")
		cmd.SysProcAttr = attr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatalf("%s: %q: %v", cmd, line, err)
		}
		pid := cmd.Process.Pid
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", pid))
		if err != nil {
			t.Fatal(err)
		}
		again[ns]++
		check := func(state string) {
			t.Helper()
			id, err := a.Client.PID(t.Context(), identity.HostPID(pid))
			if err != nil || id.State != state || int(id.Host.UID) != host || len(id.Chain) != 2 ||
				id.Chain[1].UID == nil || *id.Chain[1].UID != 0 || fmt.Sprintf("user:[%d]", id.Chain[1].UserNS) != ns {
				t.Fatalf("round %d, %s, pid %d of %s, %s: %+v, %v", i, state, pid, ns, fmt.Sprint(again), id, err)
			}
		}
		if i%3 > 0 { // else its birth may lie in the ring until it is dead
			check("live")
		}
		in.Close()
		if err := cmd.Wait(); err == nil {
			t.Fatal("read told no end of file")
		}
		if i%4 > 0 {
			check("exited")
		}
	}
	if len(again) > 20 {
		t.Errorf("hardly a number was given out again: %v", again)
	}
}
