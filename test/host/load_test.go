//go:build host

package host

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/test/storm/account"
)

// TestBurst is a rate at which other agents have dropped events.
func TestBurst(t *testing.T) {
	a := startAgent(t, "")
	seconds := "10"
	if os.Getenv("EYAS_VM") != "" {
		seconds = "2" // an emulated machine takes ten times as long
	}
	s, ready := startStorm(t, "burst", "--rate", "1300", "--seconds", seconds)
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	end, err := s.Done()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("pace: %+v", end.Pace)
	compareCounts(t, a, ready, end, account.Event{})
	checkQuiet(t, a)
	if err := s.Quit(); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, a)
	a.Stop()
	checkHistory(t, a, ready, end)
}

// TestOverflow stops the reader, so that the ring overflows: every loss is
// counted, the kernel's counts miss nothing, and within two seconds of resuming
// the table is exact again.
func TestOverflow(t *testing.T) {
	a := startAgent(t, "", "--ring-bytes", "64KiB")
	s, ready := startStorm(t, "run", "--containers", "8", "--levels", "1-8", "--forks", "4000", "--threads", "500", "--execs", "1000")
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	end, err := s.Done()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	resumed := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	want := liveOnly(accountByPIDNS(ready, end, account.Event{}))
	var diff string
	err = poll(ctx, a.done, func() error {
		got := liveOnly(countsByPIDNS(t, a))
		for ns := range got {
			if _, ours := want[ns]; !ours {
				delete(got, ns)
			}
		}
		if diff = cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("not exact")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("live state is not exact 2 s after the reader resumed (-storm +eyas):\n%s", diff)
	}
	t.Logf("exact %s after the reader resumed", time.Since(resumed).Round(time.Millisecond))
	f := a.families()
	lost := total(f, "eyas_events_lost_total")
	if lost == 0 {
		t.Fatal("nothing was lost: the ring did not overflow, and this test shows nothing")
	}
	if total(f, "eyas_events_lost_bytes_total") == 0 || total(f, "eyas_reconcile_total", "cause", "loss") == 0 {
		t.Error("lost bytes or the new snapshot are not counted")
	}
	if v := total(f, "eyas_reconcile_drift_total"); v != 0 {
		t.Errorf("a known loss counts as drift: %v", v)
	}
	// All that the hooks wanted to tell is either told or counted as lost.
	for _, hook := range []string{"on_exec", "on_exit", "on_newtask"} {
		t.Logf("%s: %v told, %v lost", hook, total(f, "eyas_events_total", "hook", hook), total(f, "eyas_events_lost_total", "hook", hook))
	}
	compareCounts(t, a, ready, end, account.Event{})
	c := checker{a: a}
	c.round(t)
}

func liveOnly(all map[uint32]counted) map[uint32]counted {
	out := map[uint32]counted{}
	for ns, c := range all {
		out[ns] = counted{LiveProcesses: c.LiveProcesses, LiveThreads: c.LiveThreads}
	}
	return out
}
