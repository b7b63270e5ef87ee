package command

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// A trace prints what is new, names what it does without, and ends.
func TestTrace(t *testing.T) {
	chain := []identity.Link{{ID: "n", Kind: "node", Name: "n"}, {ID: "c", Kind: "container", Name: "web\x1b[2J"}}
	one := func(op, cause, syscall string, n uint64) identity.DenialAnswer {
		return identity.DenialAnswer{Op: op, Error: "EACCES", Cause: cause, Syscall: syscall, Count: n, Chain: chain, State: "live"}
	}
	old, grown := one("mount", "other", "mount", 1), one("mount", "other", "mount", 2)
	a := &agent{
		denials: []identity.DenialAnswer{old}, missing: map[string]string{"denials_mode": "not\x1b here", "denials_change": "not\x1b here"},
		later: []identity.DenialAnswer{one("call", "other", "openat", 1), one("call", "other", "mkdir", 1), grown},
	}
	socket := serve(t, a)
	code, out, errs := run(t, "explain", "web", "--trace", "1s", "--socket", socket)
	if code != 0 || errs != "eyas: this trace does without denials_change, denials_mode: not\\x1b here\n" {
		t.Errorf("status %d: %q", code, errs)
	}
	for _, want := range []string{"mount refused (EACCES)", "openat refused (EACCES)", "mkdir refused (EACCES)"} {
		if strings.Count(out, want) != 1 {
			t.Errorf("%q is not told once: %s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("not escaped: %q", out)
	}
	for deadline := time.Now().Add(10 * time.Second); a.traced.Load() != 0; { // the agent hears of it
		if time.Now().After(deadline) {
			t.Fatal("the trace goes on when its time is up")
		}
		<-time.After(time.Millisecond)
	}

	a.later, a.missing = a.denials, nil
	a.begun.Store(0)
	if code, out, errs := run(t, "explain", "pid", "7", "--trace", "1s", "--socket", socket); code != 1 || out != "" || !strings.Contains(errs, "nothing of it was refused meanwhile") {
		t.Errorf("nothing new: status %d: %q, %q", code, out, errs)
	}
	a.err = errors.New("no such thing")
	if code, _, errs := run(t, "explain", "web", "--trace", "1s", "--socket", socket); code != 1 || !strings.Contains(errs, "no such thing") {
		t.Errorf("no trace: status %d: %q", code, errs)
	}
	for _, bad := range []string{"0.5s", "11m", "-1s"} {
		if code, _, errs := run(t, "explain", "web", "--trace="+bad, "--socket", socket); code != 2 || !strings.Contains(errs, "--trace: want 1s to "+answers.MaxTrace.String()) {
			t.Errorf("%s: status %d: %q", bad, code, errs)
		}
	}
	if code, _, errs := run(t, "explain", "some text of an error", "--trace", "1s", "--socket", socket); code == 0 {
		t.Errorf("a text is no container: %q", errs)
	}
}
