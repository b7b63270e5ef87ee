// Package plan decides, before anything runs, what a storm will be: the tree of
// containers, their id maps, and the lives of the storm's processes. Numbers
// enter, values leave; it has no I/O and no randomness, so a plan can be had again.
package plan

import (
	"fmt"

	"github.com/eyas-agent/eyas/test/storm/account"
)

// Op is one way to be born and die. The order is that of worker/ops.h.
type Op int

// What the processes of a storm do.
const (
	ExitZero     Op = iota
	ExitCode        // exits with 1..100
	Signal          // dies of one of five signals
	Exec            // forks, execs, exits 0
	ExecCode        // forks, execs, exits 1
	ExecTwice       // execs a program that execs another
	ExecMissing     // its execve fails, which is no exec
	VforkExec       // CLONE_VM|CLONE_VFORK, then exec
	Orphan          // its child outlives it and is reaped by pid 1
	Threads         // makes a full set of threads, which all end before it
	ThreadsRest     // the same with the remainder
	LeaderFirst     // the leader ends first, with 0; the process ends with 3
	ThreadExec      // a thread that is not the leader execs
	ThreadSignal    // SIGKILL while two threads live
	opCount
)

// Wide is the number of threads of one Threads op.
const Wide = 40

// Counts is how often each op happens in one container.
type Counts [opCount]uint64

// effect is what one op adds to the account; threads of Threads and ThreadsRest
// depend on the plan.
func effect(op Op) account.Totals {
	switch op {
	case ExitZero, ExecMissing, Threads, ThreadsRest:
		return account.Totals{Forks: 1, ExitZero: 1}
	case ExitCode:
		return account.Totals{Forks: 1, ExitCode: 1}
	case Signal:
		return account.Totals{Forks: 1, ExitSignal: 1}
	case Exec, VforkExec:
		return account.Totals{Forks: 1, Execs: 1, ExitZero: 1}
	case ExecCode:
		return account.Totals{Forks: 1, Execs: 1, ExitCode: 1}
	case ExecTwice:
		return account.Totals{Forks: 1, Execs: 2, ExitZero: 1}
	case Orphan:
		return account.Totals{Forks: 2, ExitZero: 2}
	case LeaderFirst:
		return account.Totals{Forks: 1, Threads: 1, ExitCode: 1}
	case ThreadExec:
		return account.Totals{Forks: 1, Threads: 1, Execs: 1, ExitZero: 1}
	case ThreadSignal:
		return account.Totals{Forks: 1, Threads: 2, ExitSignal: 1}
	}
	return account.Totals{}
}

// Work is the storm over one container.
type Work struct {
	Counts Counts
	Rest   uint64 // threads of the one ThreadsRest op
}

// Effect is the account of the whole work.
func (w Work) Effect() account.Totals {
	var sum account.Totals
	for op, n := range w.Counts {
		e := effect(Op(op))
		if Op(op) == Threads {
			e.Threads = Wide
		}
		if Op(op) == ThreadsRest {
			e.Threads = w.Rest
		}
		for _, f := range []struct {
			to   *uint64
			each uint64
		}{
			{&sum.Forks, e.Forks}, {&sum.Threads, e.Threads}, {&sum.Execs, e.Execs},
			{&sum.ExitZero, e.ExitZero}, {&sum.ExitCode, e.ExitCode}, {&sum.ExitSignal, e.ExitSignal},
		} {
			*f.to += f.each * n
		}
	}
	return sum
}

// Births is the number of paced starts: every op is one, also where it forks twice.
func (w Work) Births() uint64 {
	var n uint64
	for _, c := range w.Counts {
		n += c
	}
	return n
}

// NewWork plans a container's storm so that its forks, threads and execs are
// exactly those asked. Rare shapes come first, in small numbers, then the plain
// ones fill up. It fails when there are too few forks to carry the rest.
func NewWork(forks, threads, execs uint64) (Work, error) {
	var w Work
	left := account.Totals{Forks: forks, Threads: threads, Execs: execs}
	take := func(op Op, n uint64) {
		e := effect(op)
		for ; n > 0 && e.Forks <= left.Forks && e.Threads <= left.Threads && e.Execs <= left.Execs; n-- {
			w.Counts[op]++
			left.Forks -= e.Forks
			left.Threads -= e.Threads
			left.Execs -= e.Execs
		}
	}
	// An exec needs a fork, forty threads need one; rare shapes must leave room.
	spare := int64(forks) - int64(execs) - int64((threads+Wide-1)/Wide) - 4
	if rare := min(5, uint64(max(0, spare))/4); rare > 0 {
		take(ThreadExec, rare)
		take(LeaderFirst, rare)
		take(ThreadSignal, rare)
	}
	if n := left.Threads / Wide; n > 0 && n <= left.Forks {
		w.Counts[Threads] = n
		left.Threads -= n * Wide
		left.Forks -= n
	}
	if left.Threads > 0 && left.Threads < Wide && left.Forks > 0 {
		w.Counts[ThreadsRest], w.Rest = 1, left.Threads
		left.Threads = 0
		left.Forks--
	}
	e := left.Execs
	if e > left.Forks {
		take(ExecTwice, e-left.Forks)
	} else {
		take(ExecTwice, e/16)
	}
	take(ExecCode, e/5)
	take(VforkExec, e/4)
	take(Exec, left.Execs)
	f := left.Forks
	take(Orphan, f/8)
	take(Signal, f/5)
	take(ExitCode, f/5)
	take(ExecMissing, f/50)
	take(ExitZero, left.Forks)
	if left != (account.Totals{}) {
		return Work{}, fmt.Errorf("plan storm: %d forks cannot carry %d threads and %d execs", forks, threads, execs)
	}
	return w, nil
}

// Halves divides a work in two; the first gets the larger share of odd counts.
func (w Work) Halves() (first, second Work) {
	first.Rest, second.Rest = w.Rest, w.Rest
	for op, n := range w.Counts {
		second.Counts[op] = n / 2
		first.Counts[op] = n - n/2
	}
	return first, second
}

// Share divides n among parts as evenly as whole numbers allow; the shares' sum is n.
func Share(n uint64, part, parts int) uint64 {
	k, i := uint64(parts), uint64(part)
	return n*(i+1)/k - n*i/k
}
