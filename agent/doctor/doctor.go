// Package doctor says whether a node, or one container on it, is fit for
// containers inside containers, and if not, why and how to fix it.
//
// What enters: files of the node, what a running agent tells of itself, and for
// a container what the kernel and its own root show. What leaves: one Result
// per check, always in the same order. It changes nothing: probes run in child
// processes, in namespaces that end with them, and attach no mount to the
// node's tree. Only Try runs something in a container; see package trial.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// State is what a check comes to.
type State string

// OK works; Warn works in part, or not for long; Fail does not work; Unknown
// could not be found out; NotApplicable does not matter here.
const (
	OK            State = "ok"
	Warn          State = "warn"
	Fail          State = "fail"
	Unknown       State = "unknown"
	NotApplicable State = "not-applicable"
)

// The worst first.
var states = [...]State{Fail, Warn, Unknown, OK, NotApplicable}

// States returns all states, the worst first.
func States() []State { return states[:] }

// Result is the outcome of one check. Found may hold text from files that
// others wrote: bounded and valid UTF-8, but whoever prints it must escape it.
type Result struct {
	ID    string `json:"id"`
	What  string `json:"what"`
	State State  `json:"state"`
	Found string `json:"found"`
	Why   string `json:"why"` // it matters
	Fix   string `json:"fix"` // empty when there is nothing to fix
}

// Failed counts the results that fail.
func Failed(all []Result) int {
	n := 0
	for _, r := range all {
		if r.State == Fail {
			n++
		}
	}
	return n
}

// check is one question about a node or a container.
type check[T any] struct {
	id, what, why string
	fix           string                           // when the finding has none of its own
	look          func(T, context.Context) finding // in the order of a method expression
	// probe: it makes a user namespace for a moment. The agent leaves these
	// out, because its own table and history would show it every time.
	probe bool
}

// finding is what a check found.
type finding struct {
	state State
	found string
	fix   string
}

func okf(format string, a ...any) finding   { return finding{OK, fmt.Sprintf(format, a...), ""} }
func warnf(format string, a ...any) finding { return finding{Warn, fmt.Sprintf(format, a...), ""} }
func failf(format string, a ...any) finding { return finding{Fail, fmt.Sprintf(format, a...), ""} }
func unknownf(format string, a ...any) finding {
	return finding{Unknown, fmt.Sprintf(format, a...), ""}
}
func mootf(format string, a ...any) finding {
	return finding{NotApplicable, fmt.Sprintf(format, a...), ""}
}

// withFix gives the finding a fix of its own.
func (f finding) withFix(format string, a ...any) finding {
	f.fix = fmt.Sprintf(format, a...)
	return f
}

const (
	checkLimit = 10 * time.Second // for one check; a probe starts two or three processes
	atOnce     = 4                // checks
	maxFound   = 400              // runes of Result.Found
	maxNamed   = 6                // things named in one finding
)

// hung are checks that have not returned from an earlier run, such as a stat on
// a dead NFS server. They are not started again, so that they cannot pile up.
type hung struct{ ids sync.Map }

// runAll runs the checks on a subject and returns their results in order.
func runAll[T any](ctx context.Context, subject T, checks []check[T], limit time.Duration, h *hung) []Result {
	results := make([]Result, len(checks))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, c := range checks {
		g.Go(func() error {
			results[i] = c.result(c.run(ctx, subject, limit, h))
			return nil
		})
	}
	_ = g.Wait() // no check returns an error
	return results
}

// run calls the check. One that panics, or that has no answer in time, is
// unknown; the latter keeps its goroutine until it returns.
func (c check[T]) run(ctx context.Context, subject T, limit time.Duration, h *hung) finding {
	if _, still := h.ids.LoadOrStore(c.id, true); still {
		return unknownf("the check hangs since an earlier run")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan finding, 1)
	go func() {
		defer h.ids.Delete(c.id)
		defer func() {
			if p := recover(); p != nil {
				done <- unknownf("the check broke: %v", p)
			}
		}()
		done <- c.look(subject, ctx)
	}()
	select {
	case f := <-done:
		return f
	case <-ctx.Done():
	}
	select {
	case f := <-done: // it heeded the deadline itself
		return f
	default:
		return unknownf("no answer within %s", limit)
	}
}

func (c check[T]) result(f finding) Result {
	r := Result{ID: c.id, What: c.what, State: f.state, Found: bound(f.found), Why: c.why, Fix: f.fix}
	if r.Fix == "" && f.state != OK && f.state != NotApplicable {
		r.Fix = c.fix
	}
	return r
}

// bound makes text of unknown origin valid and short.
func bound(s string) string {
	s = identity.Valid(s)
	n := 0
	for i := range s {
		if n == maxFound {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// named joins at most maxNamed of all.
func named(all []string) string {
	if len(all) <= maxNamed {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s, … %d more", strings.Join(all[:maxNamed], ", "), len(all)-maxNamed)
}

// unreadable is the finding when what a check looks at cannot be read.
func unreadable(err error) finding { return unknownf("%v", err) }
