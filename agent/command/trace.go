package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/exporter/api"
)

// errNothingTraced is exit status 1, as errNothingRefused is.
var errNothingTraced = errors.New("nothing of it was refused meanwhile (32-bit calls are not seen, nor what failed for another reason than a refusal)")

// traced has every refused call told for a while, and prints those that q asks for.
func (x *explainer) traced(ctx context.Context, q answers.DenialQuery) error {
	if x.trace < time.Second || x.trace > answers.MaxTrace {
		return usageError{fmt.Errorf("--trace: want 1s to %s, got %s", answers.MaxTrace, x.trace)}
	}
	return x.ask(ctx, func(ctx context.Context, from api.Querier) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		on, ended := make(chan map[string]string, 1), make(chan error, 1)
		go func() {
			ended <- from.TraceDenials(ctx, func(missing map[string]string) error {
				on <- missing
				return nil
			})
		}()
		select {
		case missing := <-on:
			x.sayMissing(missing)
		case err := <-ended:
			return err
		}
		err := x.printTraced(ctx, from, q)
		stop()
		return errors.Join(err, <-ended)
	})
}

// printTraced prints what is refused from now on. The trace is still on when it asks
// for the last time.
func (x *explainer) printTraced(ctx context.Context, from api.Querier, q answers.DenialQuery) error {
	before, err := from.Denials(ctx, q)
	if err != nil {
		return err
	}
	n := news{}
	n.of(before)
	known := len(n)
	total := func() (sum uint64) {
		for _, count := range n {
			sum += count
		}
		return sum
	}
	was := total()
	for_, done := context.WithTimeout(ctx, x.trace)
	defer done()
	if err := x.followRefusals(for_, from, q, before, n); err != nil {
		return err
	}
	if ctx.Err() == nil { // the time is up; not interrupted
		last, err := from.Denials(ctx, q)
		if err != nil {
			return err
		}
		if err := x.printRefusals(n.of(last)); err != nil {
			return err
		}
	}
	if len(n) == known && total() == was {
		return errNothingTraced
	}
	return nil
}

func (x *explainer) sayMissing(missing map[string]string) {
	why := map[string][]string{}
	for hook, reason := range missing {
		why[reason] = append(why[reason], hook)
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		slices.Sort(why[reason])
		fmt.Fprintf(x.env.Stderr, "eyas: this trace does without %s: %s\n", strings.Join(why[reason], ", "), Escape(reason))
	}
}
