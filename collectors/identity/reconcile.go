package identity

import (
	"slices"

	"github.com/eyas-agent/eyas/bpf"
)

// Drift is what a reconcile found wrong in the table, and mended.
type Drift struct {
	Missing int // live processes that the table lacked though it must have been told
	Stale   int // processes in the table that were dead
	Adopted int // entered a namespace without fork or exec: no event tells, no drift
}

// Liveness is what the kernel says of a process when asked.
type Liveness int

// A process is Dying when its last thread has exited but it is not reaped, or
// when it cannot be told for the moment.
const (
	Alive Liveness = iota
	Dying
	Dead
)

// Reconcile compares the table with a snapshot and makes them equal.
//
// The snapshot was begun at began (ns since boot). The caller has then drained
// the ring, so that every event before the snapshot's end is applied, and
// passes the keys of the processes whose exit it drained meanwhile: the
// snapshot may still show them. ask is called for each process that the
// snapshot lacks, because an exec by another thread than the first hides a
// process for a moment.
//
// The kernel shows a new process shortly before it tells of it (copy_process
// attaches the pid, then traces), and a dead one shortly before it tells of
// that (do_exit counts signal->live down, then traces); and one that the
// snapshot lacked may have told its death after the ring was drained, before it
// was asked about. Unless sure, such are therefore drift only when the next
// Reconcile finds them still untold.
func (t *Table) Reconcile(snapshot []*bpf.Process, began uint64, exited map[ProcessKey]bool, ask func(*Process) Liveness, sure bool) Drift {
	d := Drift{Missing: len(t.untold)}
	t.untold = map[ProcessKey]bool{}
	dying := t.dying
	t.dying = map[ProcessKey]bool{}

	seen := make(map[ProcessKey]bool, len(snapshot))
	slices.SortFunc(snapshot, func(a, b *bpf.Process) int { return cmpUint(a.Start, b.Start) })
	for _, r := range snapshot {
		key := ProcessKey{PID: HostPID(r.PID), Start: r.Start}
		if r.Zombie || exited[key] {
			continue
		}
		seen[key] = true
		if p := t.live[key.PID]; p == nil || p.Key != key {
			// A process born of a nested one is told at birth; one born on
			// the host that went in later is not.
			switch {
			case t.live[HostPID(r.PPID)] == nil:
				d.Adopted++
			case sure:
				d.Missing++
			default:
				t.untold[key] = true
			}
		}
		t.applyProcess(r)
	}
	for _, p := range t.Processes() {
		if seen[p.Key] || p.First >= began {
			continue
		}
		if ask(p) == Alive {
			continue
		}
		if !sure && !dying[p.Key] {
			t.dying[p.Key] = true
			continue
		}
		d.Stale++
		t.remove(p, began)
	}
	for _, g := range t.cgroups {
		if g.Path == "" && t.o.CgroupPath != nil {
			g.Path = t.o.CgroupPath(g.ID)
		}
	}
	t.sweep(began)
	return d
}

// sweepAfter is how long a user namespace may be known without a process in
// it, ns: its record comes just before that of its first process.
const sweepAfter = 60e9

// sweep forgets user namespaces whose first process was never told.
func (t *Table) sweep(now uint64) {
	for _, ns := range t.UserNamespaces() {
		if ns.refs == 0 && ns.Last+sweepAfter < now {
			t.endUserNS(ns, now)
			t.unrefUserNS(ns.Parent, now)
		}
	}
}
