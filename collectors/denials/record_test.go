package denials

import (
	"errors"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestOf: a process has the refusals that it met, also where another was the last;
// what the kernel has forgotten is known as far as it was the last.
func TestOf(t *testing.T) {
	n := newNode()
	id := n.put(10, 7)
	n.put(11, 7)
	c := n.with(0)
	mount, chown := key(7, 0, bpf.DeniedMount, 1, bpf.CauseCapability, 21), key(7, 0, bpf.DeniedChown, 22, bpf.CauseID, 0)
	n.rows[mount] = bpf.Denial{Count: 5, Time: 100, PID: 11, Start: 11, Comm: "last"}
	n.rows[chown] = bpf.Denial{Count: 7, Time: 90, PID: 10, Start: 10, Comm: "forgotten"}
	n.each = map[bpf.DenialProcess]bpf.Denial{
		{DenialKey: mount, Start: 10}: {Count: 2, Time: 40, PID: 10, Start: 10, UID: 5, Comm: "first"},
		{DenialKey: mount, Start: 9}:  {Count: 1, Time: 30, PID: 10, Start: 9, Comm: "before"}, // the pid was another's
		{DenialKey: mount, Start: 11}: {Count: 3, Time: 100, PID: 11, Start: 11, Comm: "last"},
		{DenialKey: key(99, 0, bpf.DeniedMount, 1, bpf.CauseOther, 0), Start: 10}: {Count: 1, Time: 1, PID: 10, Start: 10}, // of no container
		{DenialKey: chown, Start: 12}: {Count: 1, PID: 10, Start: 12}, // never whole
	}
	hear(t, c, t0)
	type one struct {
		op, comm, container string
		count, start        uint64
		first               time.Time
	}
	of := func(pid identity.HostPID) map[one]bool {
		t.Helper()
		all, err := c.Of(pid)
		if err != nil {
			t.Fatal(err)
		}
		got := map[one]bool{}
		for _, r := range all {
			got[one{r.Op, r.Comm, r.Container, r.Count, r.Start, r.First}] = true
		}
		return got
	}
	at := c.o.Clock.At
	want := map[one]bool{
		{"mount", "first", id, 2, 10, at(10)}:     true,
		{"mount", "before", id, 1, 9, at(30)}:     true,
		{"chown", "forgotten", id, 7, 10, at(90)}: true,
	}
	if got := of(10); len(got) != len(want) {
		t.Errorf("pid 10: %v, want %v", got, want)
	} else {
		for k := range want {
			if !got[k] {
				t.Errorf("pid 10: %v, want %v", got, want)
			}
		}
	}
	if got := of(11); len(got) != 1 || !got[one{"mount", "last", id, 3, 11, at(11)}] {
		t.Errorf("pid 11: %v", got)
	}
	if got := of(12); len(got) != 0 {
		t.Errorf("pid 12: %v", got)
	}
	n.err = errors.New("gone")
	if _, err := c.Of(10); err == nil {
		t.Error("no error of a map that cannot be read")
	}
}
