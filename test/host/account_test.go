//go:build host

package host

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/eyas-agent/eyas/collectors/history"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
	"github.com/eyas-agent/eyas/test/storm/account"
	"github.com/eyas-agent/eyas/test/storm/stormtest"
)

// counted is one container's numbers in the terms of the storm's account.
type counted = account.Totals

// countsByPIDNS reads the agent's series and adds them up by pid namespace,
// which is how the storm accounts.
func countsByPIDNS(t *testing.T, a *agent) map[uint32]counted {
	t.Helper()
	f := a.families()
	pidns := map[string]uint32{} // container/nested → pidns
	key := func(outer, nested string) string { return outer + "/" + nested }
	out := map[uint32]counted{}
	for _, m := range f["eyas_container_info"].GetMetric() {
		n, err := strconv.ParseUint(label(m, "pidns"), 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		pidns[key(label(m, "container"), label(m, "nested"))] = uint32(n)
	}
	add := func(name string, f2 func(c *counted, v uint64, m map[string]string)) {
		for _, m := range f[name].GetMetric() {
			if v := value(m); v < 0 {
				t.Errorf("%s is negative: %v", name, v)
			}
			ns := pidns[key(label(m, "container"), label(m, "nested"))]
			c := out[ns]
			f2(&c, uint64(value(m)), map[string]string{"kind": label(m, "kind")})
			out[ns] = c
		}
	}
	add("eyas_container_processes", func(c *counted, v uint64, _ map[string]string) {
		c.LiveProcesses += v
		c.LiveThreads -= v
	})
	add("eyas_container_threads", func(c *counted, v uint64, _ map[string]string) { c.LiveThreads += v })
	add("eyas_container_forks_total", func(c *counted, v uint64, _ map[string]string) { c.Forks += v })
	add("eyas_container_threads_started_total", func(c *counted, v uint64, _ map[string]string) { c.Threads += v })
	add("eyas_container_exec_total", func(c *counted, v uint64, _ map[string]string) { c.Execs += v })
	add("eyas_container_exits_total", func(c *counted, v uint64, m map[string]string) {
		switch m["kind"] {
		case "zero":
			c.ExitZero += v
		case "error":
			c.ExitCode += v
		case "signal":
			c.ExitSignal += v
		}
	})
	return out
}

func accountByPIDNS(ready stormtest.Ready, e account.Event, since account.Event) map[uint32]counted {
	begin := stormtest.Accounts(since)
	out := map[uint32]counted{}
	for id, totals := range stormtest.Accounts(e) {
		if c, ok := ready.Container(id); ok {
			out[uint32(c.Namespaces["pid"])] = totals.Sub(begin[id])
		}
	}
	return out
}

// compareCounts demands that every number of every container be the storm's.
func compareCounts(t *testing.T, a *agent, ready stormtest.Ready, end, since account.Event) {
	t.Helper()
	want := accountByPIDNS(ready, end, since)
	// Exits whose run the kernel skipped are counted when their task is freed,
	// a grace period later; without such, at once.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var diff string
	_ = poll(ctx, a.done, func() error {
		got := countsByPIDNS(t, a)
		for ns := range got {
			if _, ours := want[ns]; !ours {
				delete(got, ns) // not the storm's
			}
		}
		if diff = cmp.Diff(want, got); diff == "" || !guarded(a.families()) {
			return nil
		}
		return errors.New("counts differ")
	})
	if diff != "" {
		t.Errorf("counts differ (-storm +eyas):\n%s", diff)
	}
	var sum account.Totals
	for _, c := range want {
		sum = sum.Add(c)
	}
	t.Logf("%d containers exact: %+v", len(want), sum)
}

// compareLive demands it of the live state alone.
func compareLive(t *testing.T, a *agent, ready stormtest.Ready, end account.Event) {
	t.Helper()
	want, got := liveOnly(accountByPIDNS(ready, end, account.Event{})), liveOnly(countsByPIDNS(t, a))
	for ns := range got {
		if _, ours := want[ns]; !ours {
			delete(got, ns)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("live state differs (-storm +eyas):\n%s", diff)
	}
}

// guarded reports whether the kernel may skip runs of programs, and the agent
// finds them out.
func guarded(f map[string]*dto.MetricFamily) bool {
	return total(f, "eyas_hook_state", "hook", "on_free") > 0
}

// checkQuiet demands that nothing was lost and nothing had drifted.
func checkQuiet(t *testing.T, a *agent) {
	t.Helper()
	f := a.families()
	for _, m := range f["eyas_hook_missed_total"].GetMetric() {
		switch hook := label(m, "hook"); {
		case value(m) == 0:
		case guarded(f) && (hook == "on_exec" || hook == "on_exit" || hook == "on_capable"):
			t.Logf("the kernel skipped %v runs of %s; %v events found out", value(m), hook, total(f, "eyas_hook_recovered_total", "hook", hook))
		case guarded(f) && strings.HasPrefix(hook, "overlay_"):
			t.Logf("the kernel skipped %v runs of %s", value(m), hook)
		default:
			t.Errorf("the kernel skipped %v runs of %s", value(m), hook)
		}
	}
	for _, name := range []string{
		"eyas_events_lost_total", "eyas_reconcile_drift_total", "eyas_counts_lost_total",
		"eyas_events_malformed_total", "eyas_history_dropped_total", "eyas_missed_exits_total",
	} {
		if f[name] == nil {
			t.Errorf("no series %s", name)
		}
		if v := total(f, name); v != 0 {
			t.Errorf("%s is %v, want 0", name, v)
		}
	}
}

// checkEmpty demands that nothing is left of the storm in the table.
func checkEmpty(t *testing.T, a *agent) {
	t.Helper()
	ours := map[int]bool{}
	for _, pid := range nestedPIDs() {
		ours[pid] = true
	}
	err := a.Client.PS(t.Context(), "", func(id identity.Identity) error {
		if !ours[int(id.Host.PID)] {
			if _, ok := readFacts(int(id.Host.PID)); !ok {
				t.Errorf("pid %d is in the table and dead", id.Host.PID)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// checkHistory demands that every death of the account is in the history, with
// a whole chain.
func checkHistory(t *testing.T, a *agent, ready stormtest.Ready, end account.Event) {
	t.Helper()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	h, err := history.Open(history.Options{Path: a.State + "/" + tracker.HistoryFile, Boot: strings.TrimSpace(string(boot)), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	type deaths struct{ Zero, Error, Signal, Live, Untold int }
	got := map[uint32]deaths{}
	err = h.Each(func(r identity.ProcessRecord) {
		chain := identity.ChainOf(r.Container, h)
		if len(chain) == 0 || chain[0].Parent != "" {
			t.Errorf("pid %d: its chain is not whole: %v", r.PID, chain)
			return
		}
		ns := chain[len(chain)-1].PIDNS.Inum
		d := got[ns]
		switch {
		case !r.Exited:
			d.Live++
		case !r.ExitTold:
			d.Untold++
		case r.ExitCode&0x7f != 0:
			d.Signal++
		case r.ExitCode != 0:
			d.Error++
		default:
			d.Zero++
		}
		got[ns] = d
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint32]deaths{}
	dead := 0
	for ns, c := range accountByPIDNS(ready, end, account.Event{}) {
		// Quit has killed what lived.
		want[ns] = deaths{int(c.ExitZero), int(c.ExitCode), int(c.ExitSignal + c.LiveProcesses), 0, 0}
		dead += int(c.Exits() + c.LiveProcesses)
	}
	for ns := range got {
		if _, ours := want[ns]; !ours {
			delete(got, ns)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history differs (-storm +history):\n%s", diff)
	}
	t.Logf("%d dead processes found in the history with their chains", dead)
}
