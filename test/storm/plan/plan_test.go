package plan

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/test/storm/account"
)

func TestNewWorkIsExact(t *testing.T) {
	for _, ask := range []account.Totals{
		{},
		{Forks: 1},
		{Forks: 1, Threads: 1},
		{Forks: 1, Threads: Wide},
		{Forks: 1, Threads: Wide - 1},
		{Forks: 1, Execs: 2},
		{Forks: 10, Execs: 10},
		{Forks: 10, Execs: 20},
		{Forks: 10, Threads: 350, Execs: 1},
		{Forks: 599, Threads: 200, Execs: 199},
		{Forks: 30000, Threads: 10000, Execs: 10000},
		{Forks: 13, Threads: 7, Execs: 5},
	} {
		w, err := NewWork(ask.Forks, ask.Threads, ask.Execs)
		if err != nil {
			t.Errorf("%+v: %v", ask, err)
			continue
		}
		first, second := w.Halves()
		for name, got := range map[string]account.Totals{"whole": w.Effect(), "halves": first.Effect().Add(second.Effect())} {
			if got.Exits() != ask.Forks {
				t.Errorf("%s of %+v: %d exits", name, ask, got.Exits())
			}
			got.ExitZero, got.ExitCode, got.ExitSignal = 0, 0, 0
			if diff := cmp.Diff(ask, got); diff != "" {
				t.Errorf("%s (-asked +planned):\n%s", name, diff)
			}
		}
	}
}

func TestNewWorkRefuses(t *testing.T) {
	for _, ask := range []account.Totals{{Threads: 1}, {Execs: 1}, {Forks: 1, Execs: 3}, {Forks: 2, Threads: 2*Wide + 1}} {
		if w, err := NewWork(ask.Forks, ask.Threads, ask.Execs); err == nil {
			t.Errorf("%+v: planned %+v", ask, w)
		}
	}
}

func FuzzNewWork(f *testing.F) {
	f.Add(uint16(600), uint16(200), uint16(200))
	f.Fuzz(func(t *testing.T, forks, threads, execs uint16) {
		w, err := NewWork(uint64(forks), uint64(threads), uint64(execs))
		if err != nil {
			return
		}
		got := w.Effect()
		if got.Forks != uint64(forks) || got.Threads != uint64(threads) || got.Execs != uint64(execs) || got.Exits() != got.Forks {
			t.Errorf("asked %d %d %d, planned %+v", forks, threads, execs, got)
		}
	})
}

func TestShareSumsUp(t *testing.T) {
	for _, n := range []uint64{0, 1, 49, 50, 51, 30000} {
		var sum uint64
		for i := range 50 {
			sum += Share(n, i, 50)
		}
		if sum != n {
			t.Errorf("shares of %d sum to %d", n, sum)
		}
	}
}

// The worker knows the ops by the order of an enum; here is the same order.
func TestOpsAreTheWorkers(t *testing.T) {
	header, err := os.ReadFile("../worker/ops.h")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\tOP(?:_(\w+)|S)`).FindAllStringSubmatch(string(header), -1) {
		got = append(got, m[1])
	}
	want := make([]string, opCount+1) // the last, OPS, matches without a name
	for op, name := range map[Op]string{
		ExitZero: "EXIT_ZERO", ExitCode: "EXIT_CODE", Signal: "SIGNAL", Exec: "EXEC", ExecCode: "EXEC_CODE",
		ExecTwice: "EXEC_TWICE", ExecMissing: "EXEC_MISSING", VforkExec: "VFORK_EXEC", Orphan: "ORPHAN",
		Threads: "THREADS", ThreadsRest: "THREADS_REST", LeaderFirst: "LEADER_FIRST", ThreadExec: "THREAD_EXEC",
		ThreadSignal: "THREAD_SIGNAL",
	} {
		want[op] = name
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ops (-plan +worker):\n%s", diff)
	}
}

func TestTree(t *testing.T) {
	for _, ask := range []struct{ containers, low, high, targets int }{
		{50, 1, 32, 50}, {1, 1, 32, 32}, {1, 1, 1, 1}, {1, 32, 32, 1}, {200, 3, 9, 200}, {64, 30, 32, 64}, {300, 1, 1, 300},
	} {
		nodes, err := Tree(ask.containers, ask.low, ask.high)
		if err != nil {
			t.Errorf("%+v: %v", ask, err)
			continue
		}
		targets, levels := 0, map[int]bool{}
		for i, n := range nodes {
			if n.ID != i+1 || n.Parent >= n.ID {
				t.Fatalf("%+v: node %d has parent %d", ask, n.ID, n.Parent)
			}
			checkMap(t, n.UIDMap)
			checkMap(t, n.GIDMap)
			if !n.Target {
				continue
			}
			targets++
			levels[n.PIDLevel] = true
			if n.PIDLevel < ask.low || n.PIDLevel > ask.high || !n.Form.PID {
				t.Errorf("%+v: target at level %d, %+v", ask, n.PIDLevel, n.Form)
			}
		}
		if targets != ask.targets || len(levels) != ask.high-ask.low+1 {
			t.Errorf("%+v: %d targets at %d levels", ask, targets, len(levels))
		}
	}
	for _, bad := range [][3]int{{0, 1, 2}, {5, 0, 2}, {5, 3, 2}, {5, 1, 33}} {
		if _, err := Tree(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%v was planned", bad)
		}
	}
}

// checkMap holds a map against what the kernel demands of one; that its extents
// lie in the parent's is for compose to say.
func checkMap(t *testing.T, extents []account.Extent) {
	t.Helper()
	if len(extents) > MaxExtents {
		t.Errorf("%d extents", len(extents))
	}
	if _, err := MapText(extents); err != nil {
		t.Error(err)
	}
	for i, a := range extents {
		if a.Count == 0 || (i == 0 && a.Inside != 0) {
			t.Fatalf("extent %d: %+v", i, a)
		}
		for _, b := range extents[:i] {
			if a.Inside < b.Inside+b.Count && b.Inside < a.Inside+a.Count || a.Outside < b.Outside+b.Count && b.Outside < a.Outside+a.Count {
				t.Fatalf("extents %+v and %+v overlap", a, b)
			}
		}
	}
}

func TestComposeRefusesToSpan(t *testing.T) {
	parent := []account.Extent{{Inside: 0, Outside: 1000, Count: 10}, {Inside: 10, Outside: 1010, Count: 10}}
	got, err := compose([]account.Extent{{Inside: 0, Outside: 12, Count: 8}}, parent)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]account.Extent{{Inside: 0, Outside: 1012, Count: 8}}, got); diff != "" {
		t.Errorf("composed (-want +got):\n%s", diff)
	}
	if got, err := compose([]account.Extent{{Inside: 0, Outside: 5, Count: 10}}, parent); err == nil {
		t.Errorf("an extent over two of the parent's became %+v", got)
	}
}
