//go:build host

package host

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
	"github.com/eyas-agent/eyas/test/storm/account"
	"github.com/eyas-agent/eyas/test/storm/stormtest"
)

// stormArgs is the storm that every kernel must stand.
var stormArgs = []string{"run", "--containers", "50", "--levels", "1-32", "--forks", "30000", "--threads", "10000", "--execs", "10000"}

// roomy holds all that a storm writes while an agent starts: some 220 of its
// processes are runnable then, in the agent's own cgroup, each with a record of
// half a KiB for every fork, exec and exit. What a full ring does is
// TestOverflow's to show.
var roomy = []string{"--ring-bytes", "32MiB"}

// quick makes a storm shorter.
var quick = []string{"--forks", "8000", "--threads", "2500", "--execs", "2500"}

// wholeArgs is stormArgs, shorter where EYAS_QUICK says that kernels close to
// this one get the whole.
func wholeArgs() []string {
	if os.Getenv("EYAS_QUICK") != "" {
		return slices.Concat(stormArgs, quick)
	}
	return stormArgs
}

// halvesArgs is the same in two halves, shorter on an emulated machine: what
// depends on the kernel is wholeArgs' to show.
func halvesArgs() []string {
	args := slices.Concat(stormArgs, []string{"--pause-at-half"})
	if os.Getenv("EYAS_VM") != "" {
		args = append(args, quick...)
	}
	return args
}

func startStorm(t testing.TB, args ...string) (*stormtest.Storm, stormtest.Ready) {
	t.Helper()
	s, err := stormtest.Start(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r, err := s.Ready()
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

// TestStormEveryAnswer holds the answer about every live process against /proc
// while a storm runs over 50 containers at levels 1 to 32, then the counts
// against the storm's own account, then the history against the dead.
func TestStormEveryAnswer(t *testing.T) {
	a := startAgent(t, "", roomy...)
	s, ready := startStorm(t, wholeArgs()...)
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	done := make(chan account.Event, 1)
	go func() {
		e, err := s.Done()
		if err != nil {
			t.Error(err)
		}
		done <- e
	}()
	c := checker{a: a}
	var end account.Event
	for running := true; running; {
		select {
		case end = <-done:
			running = false
		default:
			c.round(t)
			if os.Getenv("EYAS_VM") != "" {
				// One round over all of them is what an emulated machine
				// can do beside the storm.
				end, running = <-done, false
			}
		}
	}
	during := c.compared
	c.round(t) // and once at rest
	t.Logf("%d answers compared with /proc while the storm ran, %d after it; %d processes were gone or changing, %d about to end", during, c.compared-during, c.skipped, c.dying)
	if during < 200 {
		t.Errorf("only %d answers compared during the storm", during)
	}
	compareCounts(t, a, ready, end, account.Event{})
	checkQuiet(t, a)
	if err := s.Quit(); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, a)
	a.Stop()
	checkHistory(t, a, ready, end)
}

// TestStormAgentStartsInTheMiddle starts the agent when half of the storm is
// over: live state is the same, and the counters are the second half's.
func TestStormAgentStartsInTheMiddle(t *testing.T) {
	s, ready := startStorm(t, halvesArgs()...)
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	half, err := s.Half()
	if err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, "", roomy...)
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	end, err := s.Done()
	if err != nil {
		t.Fatal(err)
	}
	compareCounts(t, a, ready, end, half)
	c := checker{a: a}
	c.round(t)
	checkQuiet(t, a)
}

// TestStormAgentIsKilled kills the agent while the storm runs and starts it
// again: the table is exact, and what was known before is remembered.
func TestStormAgentIsKilled(t *testing.T) {
	dir := t.TempDir()
	a := startAgent(t, dir, roomy...)
	s, ready := startStorm(t, halvesArgs()...)
	if err := s.Go(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Half(); err != nil {
		t.Fatal(err)
	}
	before := map[int]identity.Identity{}
	for _, pid := range nestedPIDs() {
		if id, err := a.Client.PID(t.Context(), identity.HostPID(pid)); err == nil && len(id.Chain) > 1 {
			before[pid] = id
		}
	}
	waitFlushed(t, a)
	if err := s.Go(); err != nil { // no pause: it is killed while the storm runs
		t.Fatal(err)
	}
	a.Kill()
	b := startAgent(t, dir, roomy...)
	end, err := s.Done()
	if err != nil {
		t.Fatal(err)
	}
	compareLive(t, b, ready, end)
	c := checker{a: b}
	c.round(t)
	checkQuiet(t, b)
	if err := s.Quit(); err != nil {
		t.Fatal(err)
	}
	for pid, was := range before {
		id, err := b.Client.PID(t.Context(), identity.HostPID(pid))
		if err != nil {
			t.Errorf("pid %d was known before the kill: %v", pid, err)
			continue
		}
		if !id.Host.StartTime.Round(time.Second).Equal(was.Host.StartTime.Round(time.Second)) {
			continue // the pid has been reused
		}
		if id.State != "exited" {
			t.Errorf("pid %d: state %s after everything is gone", pid, id.State)
		}
		if diff := cmp.Diff(chainIDs(was), chainIDs(id)); diff != "" {
			t.Errorf("pid %d: chain before the kill and after (-before +after):\n%s", pid, diff)
		}
		if id.FirstSeen.After(was.FirstSeen.Add(50 * time.Millisecond)) {
			t.Errorf("pid %d: first seen %s, was %s", pid, id.FirstSeen, was.FirstSeen)
		}
	}
	if len(before) < 50 {
		t.Errorf("only %d processes were known before the kill", len(before))
	}
}

func chainIDs(id identity.Identity) []string {
	var ids []string
	for _, l := range id.Chain {
		ids = append(ids, l.ID)
	}
	return ids
}

// waitFlushed returns when everything is on disk that was told before.
func waitFlushed(t testing.TB, a *agent) {
	t.Helper()
	start := total(a.families(), "eyas_history_flushes_total")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := poll(ctx, a.done, func() error {
		if n := total(a.families(), "eyas_history_flushes_total"); n < start+2 {
			return fmt.Errorf("%v flushes", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// checker compares answers with /proc.
type checker struct {
	a        *agent
	compared int
	skipped  int
	dying    int // told as exited before /proc showed it
	known    map[uint32]identity.NSAnswer
}

// round compares every process that lives and does not change meanwhile.
func (c *checker) round(t *testing.T) {
	t.Helper()
	boot := tracker.BootClock().Boot
	c.known = nil // inode numbers are recycled: nothing is kept from round to round
	for _, pid := range nestedPIDs() {
		c.one(t, pid, boot)
	}
}

// tries is how often a process may change between two looks of ours.
const tries = 5

func (c *checker) one(t *testing.T, pid int, boot time.Time) {
	t.Helper()
	var want, got facts
	for range tries {
		var ok bool
		if want, ok = readFacts(pid); !ok || want.Zombie {
			c.skipped++
			return
		}
		id, err := c.a.Client.PID(t.Context(), identity.HostPID(pid))
		after, ok := readFacts(pid)
		if !ok || after.Zombie {
			c.skipped++
			return
		}
		if !cmp.Equal(want, after) {
			continue // it changed under our eyes: look again
		}
		if err != nil {
			t.Errorf("pid %d lives, and the agent says: %v", pid, err)
			return
		}
		maps, err := c.maps(t, id)
		if err != nil {
			t.Error(err)
			return
		}
		got = asFacts(id, boot, maps)
		if id.State == "exited" {
			// It has told its exit, and /proc had not seen that yet: the kernel
			// had it off the CPU in between. It can do nothing but end.
			c.ends(t, want)
			got.PPID, got.Threads, got.MntNS, got.Cgroup = want.PPID, want.Threads, want.MntNS, want.Cgroup
		}
		// The two clocks are read at different moments; a tick is 10 ms.
		if d := int64(got.Start) - int64(want.Start); d >= -2 && d <= 2 {
			got.Start = want.Start
		}
		c.compared++
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pid %d differs (-/proc +eyas):\n%s", pid, diff)
		}
		return
	}
	c.skipped++
}

// ends waits for the process to be a zombie or gone.
func (c *checker) ends(t *testing.T, want facts) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := poll(ctx, c.a.done, func() error {
		if now, ok := readFacts(want.PID); ok && !now.Zombie && now.Start == want.Start {
			return fmt.Errorf("pid %d is told as exited, and lives: %+v", want.PID, now)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	c.dying++
}

// maps returns all user namespaces' maps, asked anew when the identity's
// innermost one is not among those known, or was not mapped then.
func (c *checker) maps(t *testing.T, id identity.Identity) (map[uint32]identity.NSAnswer, error) {
	t.Helper()
	inner := id.UserNSs[len(id.UserNSs)-1]
	if n, ok := c.known[inner.UserNS]; ok && n.Mapped || inner.Level == 0 {
		return c.known, nil
	}
	all, err := c.a.Client.Map(t.Context(), "")
	if err != nil {
		return nil, err
	}
	c.known = map[uint32]identity.NSAnswer{}
	for _, n := range all {
		c.known[n.UserNS] = n
	}
	return c.known, nil
}
