package tracker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// numbers are the parts of Stats that do not depend on time.
func numbers(tr *Tracker) Stats {
	s := tr.Stats()
	s.SnapshotTime, s.LastReconcile = 0, time.Time{}
	return s
}

func refresh(t *testing.T, tr *Tracker, times int) {
	t.Helper()
	for range times {
		if err := tr.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func syncNow(t *testing.T, tr *Tracker) {
	t.Helper()
	if err := tr.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Whatever happens around the first snapshot, everybody is there once.
func TestFirstSnapshot(t *testing.T) {
	k, m := newKernel(task(100, 1, 100), task(101, 100, 100), task(102, 100, 100)), newMemory()
	zombie := task(103, 100, 100)
	zombie.Zombie = true
	k.tasks = append(k.tasks, zombie)
	k.tell(fork(101, 100, 100), fork(103, 100, 100), exit(103)) // before: two are seen, one as a zombie
	k.during = func(k *kernel) {                                // after it has looked
		k.ring = append(k.ring, fork(104, 100, 100), exit(102), fork(105, 104, 100), exit(105), exit(90))
		k.during = nil
	}
	tr := follow(t, k, Options{Memory: m})
	syncNow(t, tr)
	pids, counts := live(tr)
	check(t, "processes", []identity.HostPID{100, 101, 104}, pids)
	check(t, "in the container", []int{3}, counts)
	check(t, "stats", Stats{Reconciles: 1, Zombies: 1, Events: 8}, numbers(tr))
	k.do(func(k *kernel) { k.tasks = []*bpf.Process{task(100, 1, 100), task(101, 100, 100), task(104, 100, 100)} })
	refresh(t, tr, 2)
	check(t, "no drift", Stats{Reconciles: 3, Events: 8}, numbers(tr))
	m.mu.Lock()
	defer m.mu.Unlock()
	check(t, "remembered", map[identity.HostPID]int{100: 1, 101: 1, 102: 1, 104: 1}, m.seen)
	check(t, "remembered as dead", map[identity.HostPID]int{102: 1, 103: 1, 105: 1}, m.dead)
	check(t, "late exits", []bpf.Exit{*exit(90)}, m.late)
}

// Drift is what differs and was not told, when it had time to be told.
func TestDrift(t *testing.T) {
	base := []*bpf.Process{task(100, 1, 100), task(101, 100, 100)}
	gone := func() (*bpf.Process, error) { return nil, bpf.ErrNoProcess }
	dying := func() (*bpf.Process, error) { return nil, nil }
	for name, tc := range map[string]struct {
		before    func(*kernel) // the first comparison
		between   func(*kernel) // the second, of three
		first     Stats
		last      Stats
		processes int
	}{
		"nothing": {nil, nil, Stats{}, Stats{}, 2},
		"born and never told": {
			func(k *kernel) { k.tasks = append(k.tasks, task(102, 100, 100)) }, nil, Stats{}, Stats{Drift: 1}, 3,
		},
		"born and told late": {
			func(k *kernel) { k.tasks = append(k.tasks, task(102, 100, 100)) },
			func(k *kernel) { k.ring = append(k.ring, fork(102, 100, 100)) }, Stats{}, Stats{Events: 1}, 3,
		},
		"born and told in time": {
			func(k *kernel) {
				k.tasks, k.ring = append(k.tasks, task(102, 100, 100)), append(k.ring, fork(102, 100, 100))
			}, nil, Stats{Events: 1}, Stats{Events: 1}, 3,
		},
		"went in from the host": {
			func(k *kernel) { k.tasks = append(k.tasks, task(102, 1, 100)) }, nil, Stats{Adopted: 1}, Stats{Adopted: 1}, 3,
		},
		"died and never told": {
			func(k *kernel) { k.tasks = base[:1] }, nil, Stats{}, Stats{Drift: 1}, 1,
		},
		"its pid is another's": {
			func(k *kernel) {
				k.tasks = base[:1]
				k.task[101] = func() (*bpf.Process, error) { p := task(101, 1, 100); p.Start++; return p, nil }
			}, nil, Stats{}, Stats{Drift: 1}, 1,
		},
		"died and told": {
			func(k *kernel) { k.tasks, k.ring = base[:1], append(k.ring, exit(101)) }, nil, Stats{Events: 1}, Stats{Events: 1}, 1,
		},
		"died and told after the snapshot": {
			func(k *kernel) { k.during = func(k *kernel) { k.ring, k.during = append(k.ring, exit(101)), nil } },
			func(k *kernel) { k.tasks = base[:1] }, Stats{Events: 1}, Stats{Events: 1}, 1,
		},
		"died and told after the ring was drained": {
			func(k *kernel) { k.tasks = base[:1] },
			func(k *kernel) { k.ring = append(k.ring, exit(101)) }, Stats{}, Stats{Events: 1}, 1,
		},
		"dying, then told": {
			func(k *kernel) { k.tasks, k.task[101] = base[:1], dying },
			func(k *kernel) { k.ring = append(k.ring, exit(101)) }, Stats{}, Stats{Events: 1}, 1,
		},
		"dying for ever": {
			func(k *kernel) { k.tasks, k.task[101] = base[:1], dying }, nil, Stats{}, Stats{Drift: 1}, 1,
		},
		"dying, then dead and never told": {
			func(k *kernel) { k.tasks, k.task[101] = base[:1], dying },
			func(k *kernel) { k.task[101] = gone }, Stats{}, Stats{Drift: 1}, 1,
		},
		"hidden by an exec": {
			func(k *kernel) { k.tasks, k.task[101] = base[:1], dying },
			func(k *kernel) { k.tasks = base; delete(k.task, 101) }, Stats{}, Stats{}, 2,
		},
		"nobody can tell": {
			func(k *kernel) {
				k.tasks, k.task[101] = base[:1], func() (*bpf.Process, error) { return nil, errors.New("no memory") }
			}, nil, Stats{}, Stats{}, 2,
		},
		"told of a loss by then": {
			func(k *kernel) { k.tasks, k.lost = base[:1], k.lost+1 }, nil,
			Stats{Repaired: 1, LossReconciles: 1}, Stats{Repaired: 1, LossReconciles: 1}, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKernel(base...)
			k.lost = 7 // before the agent came: no concern of ours
			o := Options{Source: k, Table: identity.NewTable(identity.Options{}), Log: zerolog.Nop()}
			tr := New(o)
			step := func(why cause) {
				t.Helper()
				if err := tr.reconcile(why); err != nil {
					t.Fatal(err)
				}
			}
			step(first)
			if tc.before != nil {
				k.do(tc.before)
			}
			step(asked)
			tc.first.Reconciles, tc.last.Reconciles = 2, 4
			check(t, "after one comparison", tc.first, numbers(tr))
			if tc.between != nil {
				k.do(tc.between)
			}
			step(periodic)
			step(asked)
			check(t, "after three", tc.last, numbers(tr))
			if pids, _ := live(tr); len(pids) != tc.processes {
				t.Errorf("%v are live, want %d", pids, tc.processes)
			}
		})
	}
}

// A loss leads to a snapshot at once, and what it mends is no drift.
func TestLoss(t *testing.T) {
	k := newKernel(task(100, 1, 100), task(101, 100, 100))
	tr := follow(t, k, Options{})
	k.do(func(k *kernel) { // a birth and a death are lost
		k.tasks, k.lost = []*bpf.Process{task(100, 1, 100), task(102, 100, 100)}, 2
	})
	until(t, "a snapshot after the loss", func() bool { return tr.Stats().LossReconciles > 0 })
	check(t, "stats", Stats{Reconciles: 2, LossReconciles: 1, Repaired: 2}, numbers(tr))
	pids, _ := live(tr)
	check(t, "processes", []identity.HostPID{100, 102}, pids)
	refresh(t, tr, 2)
	check(t, "then all is well", Stats{Reconciles: 4, LossReconciles: 1, Repaired: 2}, numbers(tr))
}

// Without being asked, Run compares at its period.
func TestPeriod(t *testing.T) {
	tr := follow(t, newKernel(task(100, 1, 100)), Options{Reconcile: time.Millisecond})
	until(t, "comparisons", func() bool { return tr.Stats().Reconciles >= 3 })
	check(t, "drift", uint64(0), tr.Stats().Drift)
}

// Errors of the kernel reach who waits, and end Run only when it cannot go on.
func TestErrors(t *testing.T) {
	broken := errors.New("no iterator")
	k := newKernel()
	k.err = broken
	tr := New(Options{Source: k, Table: identity.NewTable(identity.Options{}), Log: zerolog.Nop()})
	for what, err := range map[string]error{"first snapshot": tr.Run(t.Context()), "take snapshot": tr.Once(t.Context())} {
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	select {
	case <-tr.Ready():
		t.Error("ready without a snapshot")
	default:
	}

	k = newKernel(task(100, 1, 100))
	tr = follow(t, k, Options{})
	k.do(func(k *kernel) { k.err = broken })
	if err := tr.Refresh(t.Context()); !errors.Is(err, broken) {
		t.Errorf("refresh: %v", err)
	}
	k.do(func(k *kernel) { k.err, k.flushErr = nil, broken })
	if err := tr.Sync(t.Context()); !errors.Is(err, broken) || !strings.Contains(err.Error(), "wake the reader") {
		t.Errorf("sync: %v", err)
	}
	k.do(func(k *kernel) { k.flushErr = nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	idle := New(Options{Source: k}) // nobody runs it
	for what, err := range map[string]error{"sync": idle.Sync(ctx), "refresh": idle.Refresh(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s of an idle tracker: %v", what, err)
		}
	}
	refresh(t, tr, 1)
}

// Without Run there is one snapshot, and the table stays as it was then.
func TestOnce(t *testing.T) {
	k := newKernel(task(100, 1, 100))
	tr := New(Options{Source: k, Table: identity.NewTable(identity.Options{}), Log: zerolog.Nop()})
	if err := tr.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-tr.Ready()
	k.do(func(k *kernel) { k.tasks = nil })
	refresh(t, tr, 1)
	syncNow(t, tr)
	pids, _ := live(tr)
	check(t, "processes", []identity.HostPID{100}, pids)
	check(t, "stats", Stats{Reconciles: 1}, numbers(tr))
}

func TestRest(t *testing.T) {
	tr := New(Options{})
	for took, want := range map[time.Duration]time.Duration{
		0: 30 * time.Second, 30 * time.Millisecond: 30 * time.Second, 90 * time.Millisecond: 90 * time.Second, time.Minute: 5 * time.Minute,
	} {
		check(t, took.String(), want, tr.rest(took))
	}
}
