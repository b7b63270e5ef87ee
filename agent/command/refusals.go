package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/eyas-agent/eyas/agent/explain"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

// errNothingRefused is exit status 1: there is no cause to tell.
var errNothingRefused = errors.New("nothing of it was refused, as far as eyas has seen since the agent runs (it does not see what a seccomp filter answers, nor 32-bit calls)")

// followEvery is how often --follow asks: as often as the agent hears anew.
const followEvery = time.Second

// refusal is an answer of the agent with what it means.
type refusal struct {
	identity.DenialAnswer
	explain.Refusal
}

func (x *explainer) pid(ctx context.Context, arg string) error {
	pid, err := strconv.ParseUint(arg, 10, 32)
	if err != nil || pid == 0 {
		return usageError{fmt.Errorf("explain pid: want a host pid, got %q", clip(arg, 64))}
	}
	return x.refusals(ctx, answers.DenialQuery{PID: identity.HostPID(pid)})
}

// refusals tells what was refused, and with --follow what is from then on.
func (x *explainer) refusals(ctx context.Context, q answers.DenialQuery) error {
	if x.noChecks || x.in != "" {
		return usageError{errors.New("--in and --no-checks are for an error text or a path: CHAIN and pid say where to look")}
	}
	if x.trace != 0 {
		return x.traced(ctx, q)
	}
	return x.ask(ctx, func(ctx context.Context, from api.Querier) error {
		refused, err := from.Denials(ctx, q)
		if err != nil {
			return err
		}
		if !x.follow {
			if err := x.printRefusals(refused); err != nil {
				return err
			}
			if len(refused) == 0 {
				return errNothingRefused
			}
			return nil
		}
		return x.followRefusals(ctx, from, q, refused, news{})
	})
}

// kind is what refusals are counted by.
type kind struct{ op, err, cause, detail, container string }

func kindOf(d identity.DenialAnswer) kind {
	detail := d.Capability + d.Limit
	if d.Op == "call" {
		detail += d.Syscall
	}
	return kind{d.Op, d.Error, d.Cause, detail, d.Chain[len(d.Chain)-1].ID}
}

// news remembers how often each kind was refused.
type news map[kind]uint64

// of returns what is new among refused, the oldest first, as in a log.
func (n news) of(refused []identity.DenialAnswer) (fresh []identity.DenialAnswer) {
	for _, d := range slices.Backward(refused) {
		if k := kindOf(d); d.Count != n[k] {
			fresh = append(fresh, d)
			n[k] = d.Count
		}
	}
	return fresh
}

// followRefusals prints what is new, until ctx ends.
func (x *explainer) followRefusals(ctx context.Context, from api.Querier, q answers.DenialQuery, refused []identity.DenialAnswer, n news) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if err := x.printRefusals(n.of(refused)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		var err error
		if refused, err = from.Denials(ctx, q); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

func (x *explainer) printRefusals(refused []identity.DenialAnswer) error {
	all := make([]refusal, 0, len(refused))
	for _, d := range refused {
		all = append(all, refusal{d, explain.Refused(d)})
	}
	if x.output == "json" {
		if x.follow || x.trace != 0 { // a stream of objects, not of arrays
			for _, r := range all {
				if err := writeJSON(x.env.Stdout, r); err != nil {
					return err
				}
			}
			return nil
		}
		return writeJSON(x.env.Stdout, all)
	}
	for i, r := range all {
		if i > 0 || x.follow || x.trace != 0 {
			fmt.Fprintln(x.env.Stdout)
		}
		x.printRefusal(r)
	}
	return nil
}

func (x *explainer) printRefusal(r refusal) {
	w := x.env.Stdout
	fmt.Fprintf(w, "%s: %s\n", chainText(r.Chain), r.What)
	field := func(name, value string) {
		for _, line := range strings.Split(text.WrapSoft(value, 100), "\n") {
			fmt.Fprintf(w, "  %-8s %s\n", name, strings.TrimRight(line, " "))
			name = ""
		}
	}
	when := r.Time.Format(time.RFC3339)
	if r.Count > 1 {
		when = fmt.Sprintf("%d times since %s, last %s", r.Count, r.First.Format(time.RFC3339), when)
	}
	field("who", whoText(r.DenialAnswer))
	field("when", when)
	field("cause", r.Refusal.Cause)
	field("fix", r.Fix)
	field("then", thenText(r.DenialAnswer))
	if x.output == "wide" && r.Inode != 0 {
		field("file", fmt.Sprintf("inode %d on device %s", r.Inode, Escape(r.Device)))
	}
}

// whoText says who was refused, with ids on the host and inside.
func whoText(d identity.DenialAnswer) string {
	inner := d.Chain[len(d.Chain)-1]
	id := func(n *identity.UID) string {
		if n == nil {
			return "unmapped"
		}
		return strconv.FormatUint(uint64(*n), 10)
	}
	pids := ""
	if len(d.PIDs) > 1 {
		pids = fmt.Sprintf(" (inside %d)", d.PIDs[len(d.PIDs)-1])
	}
	return fmt.Sprintf("%s, host pid %d%s, host uid %d (inside %s)", Escape(d.Comm), d.Host.PID, pids, d.Host.UID, id(inner.UID))
}

// thenText says what became of the process: tools try what they can do without, and
// a refusal that they get over is no reason to act.
func thenText(d identity.DenialAnswer) string {
	switch {
	case d.State == "live":
		return "the process went on, and lives"
	case d.State != "exited" || d.Exit == nil:
		return "what became of the process is not known"
	case d.Exit.Signal == 0 && d.Exit.Code == 0:
		return "the process went on, and ended well (status 0): it can do without"
	}
	return "the process " + stateText(identity.Identity{State: d.State, Exit: d.Exit})
}
