//go:build host

package daemon

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// The node's name is that of its pid 1, whatever the agent's own is in a pod.
func TestReadNodeName(t *testing.T) {
	cmd := exec.Command("unshare", "--uts", "sh", "-c", "echo the-node >/proc/sys/kernel/hostname && echo ready && cat")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatal(line, err)
	}
	proc := procOf(t, map[string]string{"1/ns/uts": fmt.Sprintf("/proc/%d/ns/uts", cmd.Process.Pid)})
	if got := ReadNode(proc, "b-1").Name; got != "the-node" {
		t.Errorf("got %q, want that of pid 1", got)
	}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := ReadNode(t.TempDir(), "b-1").Name; got != own {
		t.Errorf("got %q, want %q where there is no pid 1", got, own)
	}
}
