package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/eyas-agent/eyas/test/storm/account"
	"github.com/eyas-agent/eyas/test/storm/plan"
)

// load is what a storm does, over all its targets together.
type load struct {
	forks, threads, execs uint64 // exact totals between "go" and "done", without probes and late holds
	rate                  float64
	joins                 bool
	pauseAtHalf           bool
	holdProcesses         uint64
	holdThreads           uint64
	batch                 int
	auto                  bool
}

// flags adds the common flags.
func (l *load) flags(f *flag.FlagSet) {
	f.Uint64Var(&l.holdProcesses, "live-processes", 3, "sleeping processes kept in each container")
	f.Uint64Var(&l.holdThreads, "live-threads", 1, "sleeping threads kept in one of them, up to 64")
	f.IntVar(&l.batch, "batch", 8, "unreaped children a container may have")
	f.BoolVar(&l.pauseAtHalf, "pause-at-half", false, `wait for "go" again at half`)
	f.BoolVar(&l.auto, "auto", false, `start without "go" and end when done`)
}

func runStorm(ctx context.Context, s *session, f *flag.FlagSet, args []string) error {
	var l load
	l.flags(f)
	containers := f.Int("containers", 50, "containers the storm goes over, at least one per level")
	levels := f.String("levels", "1-32", "pid namespace levels of the containers")
	f.Uint64Var(&l.forks, "forks", 30000, "processes, of which execs and threads use some")
	f.Uint64Var(&l.threads, "threads", 10000, "threads")
	f.Uint64Var(&l.execs, "execs", 10000, "successful execs")
	f.Float64Var(&l.rate, "rate", 0, "process starts per second over all containers; 0 is as fast as can be")
	f.BoolVar(&l.joins, "joins", true, "one fork and exec of each container comes from a host process that enters it")
	if err := f.Parse(args); err != nil {
		return err
	}
	low, high, err := parseLevels(*levels)
	if err != nil {
		return err
	}
	tree, err := plan.Tree(*containers, low, high)
	if err != nil {
		return err
	}
	return s.play(ctx, tree, l, nil)
}

func runBurst(ctx context.Context, s *session, f *flag.FlagSet, args []string) error {
	var l load
	l.flags(f)
	f.Float64Var(&l.rate, "rate", 1300, "processes per second, each of which execs")
	seconds := f.Float64("seconds", 10, "how long")
	level := f.Int("level", 3, "level of the one container")
	if err := f.Parse(args); err != nil {
		return err
	}
	if l.rate <= 0 || *seconds <= 0 {
		return fmt.Errorf("burst: rate %v for %v seconds", l.rate, *seconds)
	}
	l.forks = uint64(l.rate * *seconds)
	l.execs = l.forks
	tree, err := plan.Nest(1, *level)
	if err != nil {
		return err
	}
	work := plan.Work{}
	work.Counts[plan.Exec] = l.forks
	return s.play(ctx, tree, l, &work)
}

func runMany(ctx context.Context, s *session, f *flag.FlagSet, args []string) error {
	processes := f.Uint64("processes", 10000, "sleeping processes, the containers' own not counted")
	containers := f.Int("containers", 1, "containers that share them")
	level := f.Int("level", 2, "level of the containers")
	if err := f.Parse(args); err != nil {
		return err
	}
	tree, err := plan.Nest(*containers, *level)
	if err != nil {
		return err
	}
	return s.stage(ctx, func(ctx context.Context, st *storm) error {
		started := time.Now()
		if err := st.build(ctx, tree, nil); err != nil {
			return err
		}
		for i, n := range st.targets() {
			if err := n.hold(ctx, plan.Share(*processes, i, *containers), 0); err != nil {
				return err
			}
		}
		if err := s.ready(ctx, st, started); err != nil {
			return err
		}
		return s.waitQuit(ctx)
	})
}

// stage gives body a storm and takes everything down behind it. Once the end has
// been asked for, whatever body stumbles over is that end and no failure.
func (s *session) stage(ctx context.Context, body func(context.Context, *storm) error) error {
	path, err := s.workerPath()
	if err != nil {
		return err
	}
	if s.storm, err = newStorm(ctx, path); err != nil {
		return err
	}
	err = body(ctx, s.storm)
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, s.storm.close())
}

// play builds the tree, holds, and storms in two halves. A nil work is planned
// from the load for every target.
func (s *session) play(ctx context.Context, tree []plan.Node, l load, fixed *plan.Work) error {
	if l.batch < 1 || l.rate < 0 {
		return fmt.Errorf("plan storm: batch %d, rate %v", l.batch, l.rate)
	}
	return s.stage(ctx, func(ctx context.Context, st *storm) error {
		started := time.Now()
		if err := st.build(ctx, tree, nil); err != nil {
			return err
		}
		targets := st.targets()
		works, err := l.share(len(targets), fixed)
		if err != nil {
			return err
		}
		for _, n := range targets {
			if err := n.hold(ctx, l.holdProcesses, l.holdThreads); err != nil {
				return err
			}
		}
		if err := s.ready(ctx, st, started); err != nil {
			return err
		}
		if !l.auto {
			if err := s.waitGo(ctx); err != nil {
				return err
			}
		}
		started = time.Now()
		for half, kind := range []string{account.EventHalf, account.EventDone} {
			pace, err := st.blow(ctx, l, works, half)
			if err != nil {
				return err
			}
			seconds := time.Since(started).Seconds()
			if err := s.report(ctx, st, account.Event{Kind: kind, Pace: pace, Seconds: seconds}); err != nil {
				return err
			}
			if half == 0 && l.pauseAtHalf {
				if err := s.waitGo(ctx); err != nil {
					return err
				}
			}
		}
		if l.auto {
			return nil
		}
		return s.waitQuit(ctx)
	})
}

// ready tells of every container, then of their accounts.
func (s *session) ready(ctx context.Context, st *storm, started time.Time) error {
	for _, n := range st.containers() {
		c, err := st.describe(n)
		if err != nil {
			return err
		}
		if err := s.emit(account.Event{Kind: account.EventContainer, Container: &c}); err != nil {
			return err
		}
	}
	return s.report(ctx, st, account.Event{Kind: account.EventReady, Seconds: time.Since(started).Seconds()})
}

// report proves the accounts and says them.
func (s *session) report(ctx context.Context, st *storm, event account.Event) error {
	var err error
	if event.Proven, event.Wrapped, err = st.prove(ctx); err != nil {
		return err
	}
	sum, host := account.Totals{}, st.host
	for _, n := range st.containers() {
		event.Accounts = append(event.Accounts, account.Line{ID: n.ID, Totals: n.totals})
		sum = sum.Add(n.totals)
	}
	event.Sum, event.Host = &sum, &host
	return s.emit(event)
}

// parseLevels reads "1-32" or "7".
func parseLevels(text string) (low, high int, err error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	numbers, err := parseInts([]string{first, last})
	if err != nil {
		return 0, 0, fmt.Errorf("levels %q: %w", text, err)
	}
	return numbers[0], numbers[1], nil
}
