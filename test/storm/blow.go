package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eyas-agent/eyas/test/storm/account"
	"github.com/eyas-agent/eyas/test/storm/plan"
)

// share plans the work of each target; the sums are exactly the load's.
func (l load) share(targets int, fixed *plan.Work) ([]plan.Work, error) {
	works := make([]plan.Work, targets)
	for i := range works {
		if fixed != nil {
			works[i] = *fixed
			continue
		}
		forks, execs := plan.Share(l.forks, i, targets), plan.Share(l.execs, i, targets)
		if l.joins {
			if forks == 0 || execs == 0 {
				return nil, fmt.Errorf("plan storm: a join needs one fork and one exec in each of %d containers", targets)
			}
			forks, execs = forks-1, execs-1
		}
		var err error
		if works[i], err = plan.NewWork(forks, plan.Share(l.threads, i, targets), execs); err != nil {
			return nil, err
		}
	}
	return works, nil
}

// blow is one half of the storm, over all targets at once. At the end of the
// second, each target gets one more held process with two threads, so that what
// lives at the end was not all there at the start.
func (s *storm) blow(ctx context.Context, l load, works []plan.Work, half int) (*account.Pace, error) {
	targets := s.targets()
	paces := make([]account.Pace, len(targets))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, n := range targets {
		group.Go(func() (err error) {
			first, second := works[i].Halves()
			work := []plan.Work{first, second}[half]
			paces[i], err = n.run(groupCtx, work, l.rate/float64(len(targets)), l.batch)
			if err == nil && half == 1 && l.holdProcesses > 0 {
				err = n.hold(groupCtx, 1, 2)
			}
			return err
		})
	}
	var entered []*node
	if l.joins {
		for i, n := range targets {
			if i%2 != half {
				continue
			}
			if err := s.join(ctx, n); err != nil {
				return nil, errors.Join(err, group.Wait())
			}
			entered = append(entered, n)
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, n := range entered { // only now is nobody else at their accounts
		n.totals = n.totals.Add(joined())
	}
	if l.rate == 0 {
		return nil, nil
	}
	sum := account.Pace{Rate: l.rate}
	for _, p := range paces {
		sum.Achieved += p.Achieved
		sum.Seconds = max(sum.Seconds, p.Seconds)
		sum.LateSeconds = max(sum.LateSeconds, p.LateSeconds)
	}
	return &sum, nil
}

// run has one container live a work, and compares what wait(2) told its pid 1
// with what the plan says.
func (n *node) run(ctx context.Context, work plan.Work, rate float64, batch int) (account.Pace, error) {
	interval := int64(0)
	if rate > 0 {
		interval = int64(float64(time.Second) / rate)
	}
	command := fmt.Sprintf("run %d %d %d %d", interval, batch, plan.Wide, work.Rest)
	for _, count := range work.Counts {
		command += " " + strconv.FormatUint(count, 10)
	}
	answer, err := n.worker.call(ctx, "%s", command)
	if err != nil {
		return account.Pace{}, err
	}
	seen, err := parseInts(strings.Fields(answer))
	if err != nil || len(seen) != 6 {
		return account.Pace{}, fmt.Errorf("storm in container %d: answer %q: %w", n.ID, answer, err)
	}
	want := work.Effect()
	if uint64(seen[0]) != want.ExitZero || uint64(seen[1]) != want.ExitCode || uint64(seen[2]) != want.ExitSignal || seen[3] != 0 {
		return account.Pace{}, fmt.Errorf("storm in container %d: exits %v, want %+v", n.ID, seen[:4], want)
	}
	n.totals = n.totals.Add(want)
	seconds := float64(seen[4]) / 1e9
	return account.Pace{
		Rate: rate, Achieved: float64(work.Births()) / seconds, Seconds: seconds, LateSeconds: float64(seen[5]) / 1e9,
	}, nil
}
