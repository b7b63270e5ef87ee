package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Names of the variables that every object of trampolines has: whether a program
// has run, one byte each, and what found no room in the map, eight bytes each.
const (
	varSeen = "seen"
	varLost = "lost"
)

// Missing says why the programs that are not attached are not.
func (t *trampolines) Missing(reason string) {
	all := t.copied()
	for _, h := range all {
		if h.link == nil {
			h.state, h.reason = HookMissing, reason
		}
	}
	t.set(all)
}

// SelfTest drives the attached programs and records whether they ran. drive must
// call every function that has one.
func (t *trampolines) SelfTest(drive Drive) {
	seen := t.shared.Variables[varSeen]
	ran := make([]uint8, seen.Size())
	all := t.copied()
	err := seen.Get(ran)
	for _, h := range all {
		ran[h.index] = 0
	}
	if err == nil {
		err = seen.Set(ran)
	}
	if err == nil {
		err = drive()
	}
	if read := seen.Get(ran); read != nil {
		err = errors.Join(err, read)
	}
	for _, h := range all {
		switch {
		case h.link == nil:
		case ran[h.index] != 0:
			h.state, h.reason = HookActive, ""
		case err != nil:
			h.state, h.reason = HookUnproven, "not driven: "+oneLine(err)
		case t.filterable && filtered():
			h.state, h.reason, h.rare = HookUnproven, "a seccomp filter of eyas's own container answers what would drive it", true
		case h.target == lsm+"task_free":
			h.state, h.reason, h.rare = HookUnproven, "no task was freed since (or bpf is not in /sys/kernel/security/lsm)", true
		default:
			h.state, h.reason = HookSilent, "attached, but did not fire when driven"
		}
	}
	t.set(all)
}

// drop detaches programs for good, which are not needed beside others: nothing is said
// of them any more.
func (t *trampolines) drop(names ...string) {
	var rest []*trampoline
	for _, h := range t.copied() {
		if !slices.Contains(names, h.name) {
			rest = append(rest, h)
			continue
		}
		if h.link != nil {
			_ = h.link.Close() // what it would do is done
		}
		if h.program != nil {
			_ = h.program.Close()
		}
	}
	t.set(rest)
}

// unproven says why what is attached cannot be driven by the agent.
func (t *trampolines) unproven(why string) {
	all := t.copied()
	for _, h := range all {
		if h.link != nil {
			h.state, h.reason, h.rare = HookUnproven, why, true
		}
	}
	t.set(all)
}

// asked are the programs that somebody has wanted attached.
func (t *trampolines) asked() []Hook {
	return slices.DeleteFunc(t.Hooks(), func(h Hook) bool { return h.Reason == NotYet })
}

// filtered reports whether a seccomp filter answers system calls of this process
// (proc_pid_status(5)).
func filtered() bool {
	b, err := os.ReadFile("/proc/self/status")
	return err == nil && bytes.Contains(b, []byte("\nSeccomp:\t2\n"))
}

// Hooks returns the state and the counters of every program.
func (t *trampolines) Hooks() []Hook {
	counters := t.shared.Variables[varLost]
	lost := make([]uint64, counters.Size()/8)
	seen := t.shared.Variables[varSeen]
	ran := make([]uint8, seen.Size())
	_, _ = counters.Get(lost), seen.Get(ran) // of maps that this process holds
	all := t.copied()
	out := make([]Hook, 0, len(all))
	for _, h := range all {
		k := Hook{Name: h.name, Target: h.target, State: h.state, Reason: h.reason, Loss: h.loss, Rare: h.rare, LostCounts: lost[h.index]}
		if h.state == HookUnproven && h.rare && ran[h.index] != 0 { // for somebody else
			k.State, k.Reason = HookActive, ""
		}
		if h.program != nil {
			if s, err := h.program.Stats(); err == nil {
				k.RunCount, k.RunNanos, k.Missed = s.RunCount, uint64(s.Runtime), s.RecursionMisses
			}
		}
		out = append(out, k)
	}
	return out
}

// Attached reports whether any program is.
func (t *trampolines) Attached() bool {
	for _, h := range t.copied() {
		if h.link != nil {
			return true
		}
	}
	return false
}

// Entries is the number of rows.
func (t *trampolines) Entries() (n int, err error) {
	var at any // nil: the first
	for {
		next, err := t.shared.Maps[t.rows].NextKeyBytes(at)
		if err != nil {
			return 0, fmt.Errorf("count rows of %s: %w", t.rows, err)
		}
		if next == nil || n > t.Capacity() { // a removed key begins anew
			return n, nil
		}
		at, n = next, n+1
	}
}

// Capacity is the number of rows the kernel can hold.
func (t *trampolines) Capacity() int { return int(t.shared.Maps[t.rows].MaxEntries()) }
