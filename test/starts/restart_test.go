//go:build host

package starts

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/eyas-agent/eyas/agent/ledger"
)

// TestRuntimeRestarts: the agent says that it is gone, and is back when it is.
func TestRuntimeRestarts(t *testing.T) {
	n := theNode(t)
	a := n.agent(t, "")
	_, c1 := n.run(t, sandbox("true"))
	l1 := a.wantLease(c1, ledger.Done)
	if err := n.containerd.Stop(); err != nil {
		t.Fatal(err)
	}
	a.wantLog(`"level":"warn"`, "not connected to a runtime: sandboxes that start now are not prepared")
	if got := a.metric("eyas_nri_connected"); got != 0 {
		t.Errorf("eyas_nri_connected is %v without a runtime", got)
	}
	if err := n.containerd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.connected()
	_, c2 := n.run(t, sandbox("true"))
	l2 := a.wantLease(c2, ledger.Done)
	checkSandbox(t, a, c2, l2, "512")
	if now := a.wantLease(c1, ledger.Done); now.Range != l1.Range || now.Range.Overlaps(l2.Range) {
		t.Errorf("lease %+v became %+v; the new one has %s", l1, now, l2.Range)
	}
	if got := a.metric("eyas_unprepared_containers"); got != 0 {
		t.Errorf("%v containers are unprepared", got)
	}
}

// TestAgentRestarts: it keeps what it finds prepared, takes back what has ended
// meanwhile, and names what was started without it.
func TestAgentRestarts(t *testing.T) {
	n := theNode(t)
	a := n.agent(t, "kept")
	_, c1 := n.run(t, sandbox("true"))
	ended, c2 := n.run(t, sandbox("true"))
	l1, l2 := a.wantLease(c1, ledger.Done), a.wantLease(c2, ledger.Done)
	a.kill()
	remove(t, ended)
	missed, c3 := n.run(t, sandbox("true"))
	if s, _ := ociSpec(t, c3); mountAt(s, "/etc/subuid") != nil {
		t.Fatal("a container was prepared without an agent")
	}

	b := n.agent(t, "kept")
	if now := b.wantLease(c1, ledger.Done); !now.Equal(l1) {
		t.Errorf("lease %+v became %+v", l1, now)
	}
	if now := b.wantLease(c2, ledger.Tombstone); now.Range != l2.Range {
		t.Errorf("lease %+v became %+v", l2, now)
	}
	if got := b.metric("eyas_unprepared_containers"); got != 1 {
		t.Errorf("%v containers are unprepared, want 1", got)
	}
	b.wantLog(`"level":"warn"`, c3.ID, "created or started while eyas was not connected", "a sandbox is not prepared: restart it")
	_, c4 := n.run(t, sandbox("true"))
	l4 := b.wantLease(c4, ledger.Done)
	checkSandbox(t, b, c4, l4, "512")
	if l4.Range.Overlaps(l1.Range) || l4.Range.Overlaps(l2.Range) {
		t.Errorf("%s is leased again: %s, and %s rests", l4.Range, l1.Range, l2.Range)
	}
	remove(t, missed)
	b.until(func() error {
		if got := b.metric("eyas_unprepared_containers"); got != 0 {
			return fmt.Errorf("%v containers are unprepared", got)
		}
		return nil
	})
	b.stop()
}

// TestAgentHangs: the runtime waits for its own time, starts the container without
// it and drops the agent, which finds that out when it goes on.
func TestAgentHangs(t *testing.T) {
	n := theNode(t)
	a := n.agent(t, "")
	p := n.pod(t, sandbox("true"))
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c, err := p.Run(t.Context(), sleeper())
	if err != nil {
		t.Fatalf("a container does not start because the agent hangs: %v", err)
	}
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a.wantLog(`"level":"warn"`, "not connected to a runtime")
	a.wantLog(`"level":"warn"`, c.ID, "a sandbox is not prepared: restart it")
	a.connected()
	if got := a.metric("eyas_unprepared_containers"); got != 1 {
		t.Errorf("%v containers are unprepared, want 1", got)
	}
	remove(t, p)
	a.until(func() error { // what was leased too late is given back
		for _, l := range a.leases() {
			if l.Live() {
				return fmt.Errorf("lease %+v", l)
			}
		}
		return nil
	})
	_, next := n.run(t, sandbox("true"))
	checkSandbox(t, a, next, a.wantLease(next, ledger.Done), "512")
}
