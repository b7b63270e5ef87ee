//go:build host

package starts

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/agent/ledger"
)

// TestSecondAgentOfOneState: it refuses, and the first goes on.
func TestSecondAgentOfOneState(t *testing.T) {
	n := theNode(t)
	first := n.agent(t, "one")
	second := n.launch(t, "one")
	<-second.done
	if code := second.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the second agent ended with %d", code)
	}
	if want := "history is in use by another process: stop the other eyas agent or choose another --state-dir"; !strings.Contains(second.log.String(), want) {
		t.Errorf("it says %s", &second.log)
	}
	_, c := n.run(t, sandbox("true"))
	first.wantLease(c, ledger.Done)
}

// TestTwoAgents: of two plugins with one name and index, the runtime asks one
// after the other. The second leaves to the container what the first has given.
func TestTwoAgents(t *testing.T) {
	n := theNode(t)
	agents := []*agent{n.agent(t, ""), n.agent(t, "")}
	p, c := n.run(t, sandbox("true"))
	s, _ := ociSpec(t, c)
	m := mountAt(s, "/etc/subuid")
	if m == nil {
		t.Fatal("/etc/subuid is not mounted")
	}
	given := 0
	for _, a := range agents {
		l := a.wantLease(c, ledger.Done)
		if m.Source != filepath.Join(a.dir, "subids", c.ID, "subuid") {
			a.wantLog(c.ID, "the pod mounts /etc/subuid itself", "a sandbox gets less than its profile says")
			continue
		}
		given++
		checkSandbox(t, a, c, l, "512")
	}
	if given != 1 {
		t.Errorf("/etc/subuid is of %d agents: %+v", given, m)
	}
	remove(t, p)
	for _, a := range agents {
		a.wantLease(c, ledger.Tombstone)
	}
}
