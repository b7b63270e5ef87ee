package tracker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

type cause int

const (
	first cause = iota
	periodic
	afterLoss
	asked
)

// reconcile makes the table equal to the kernel; on Run's goroutine only.
func (t *Tracker) reconcile(why cause) error {
	t.exited = map[identity.ProcessKey]bool{}
	defer func() { t.exited = nil }()

	began := Now()
	start := time.Now()
	var snapshot []*bpf.Process
	if err := t.o.Source.Tasks(func(p *bpf.Process) { snapshot = append(snapshot, p) }); err != nil {
		return err
	}
	took := time.Since(start)
	// Every event up to the end of the snapshot is in the ring by now. What
	// this drains beyond that does no harm.
	if why != first {
		if err := t.drain(); err != nil {
			return err
		}
	}
	lostBefore := t.o.Source.Lost()

	t.mu.Lock()
	defer t.mu.Unlock()
	if why == first {
		// Exits in the ring are of processes the snapshot may hold; they are
		// applied after it, births before it are known twice and counted once.
		t.exited = nil
		t.revive(snapshot)
	}
	// A table that a loss made wrong is mended at once.
	sure := why == first || why == afterLoss || lostBefore != t.lossSeen
	drift := t.o.Table.Reconcile(snapshot, began, t.exited, t.alive, sure)
	t.countZombies(snapshot)
	t.settle()
	if t.o.Namer != nil {
		// What had no name yet gets another try.
		for _, c := range t.o.Table.Containers() {
			if p := t.o.Table.Process(c.Init.PID); p != nil {
				t.o.Namer.consider(p)
			}
		}
	}

	t.askArgs()

	s := &t.stats
	s.Reconciles++
	s.SnapshotTime, s.LastReconcile = took, time.Now()
	switch wrong := uint64(drift.Missing + drift.Stale); {
	case why == first:
	case why == afterLoss || lostBefore != t.lossSeen:
		s.LossReconciles++
		s.Repaired += wrong
		s.Adopted += uint64(drift.Adopted)
	default:
		s.Drift += wrong
		s.Adopted += uint64(drift.Adopted)
		if wrong > 0 {
			t.o.Log.Error().Int("missing", drift.Missing).Int("stale", drift.Stale).Msg("table had drifted from the kernel")
		}
	}
	t.lossSeen = lostBefore
	return nil
}

// revive reads the user namespaces before anybody is put into them: only then
// can they take up the generation that the last run gave them. With ids of the
// kernel there is nothing to take up.
func (t *Tracker) revive(snapshot []*bpf.Process) {
	read := map[uint32]bool{}
	for _, r := range snapshot {
		inner := r.UserLevels[len(r.UserLevels)-1]
		if len(r.UserLevels) == 1 || inner.UserNSID != 0 || read[inner.UserNS] {
			continue
		}
		chain, err := t.o.Source.UserNSOf(r.PID)
		if err != nil {
			continue // gone: the next member will do
		}
		read[inner.UserNS] = true
		for _, u := range slices.Backward(chain) {
			t.o.Table.Apply(u)
		}
	}
}

// drain applies all that is in the ring now; it holds no lock while it reads.
func (t *Tracker) drain() error {
	for {
		full, err := t.followBatch(time.Now())
		if err != nil || !full {
			return err
		}
	}
}

// alive asks the kernel how a process of the table fares.
func (t *Tracker) alive(p *identity.Process) identity.Liveness {
	r, err := t.o.Source.Task(uint32(p.Key.PID))
	switch {
	case errors.Is(err, bpf.ErrNoProcess):
		return identity.Dead
	case err != nil:
		return identity.Alive // not known to be otherwise
	case r == nil, r.Zombie:
		// No answer although the pid exists: an exec by another thread than
		// the first is taking the pid over.
		return identity.Dying
	case r.Start != p.Key.Start:
		return identity.Dead
	}
	return identity.Alive
}

func (t *Tracker) countZombies(snapshot []*bpf.Process) {
	t.zombie = map[string]int{}
	t.stats.Zombies = 0
	for _, r := range snapshot {
		if r.Zombie {
			t.stats.Zombies++
			t.zombie[t.o.Table.ContainerOf(r)]++
		}
	}
}

// Refresh takes a snapshot now and returns when the table equals it.
func (t *Tracker) Refresh(ctx context.Context) error {
	if t.once {
		return nil
	}
	var err error
	if derr := t.do(ctx, func() { err = t.reconcile(asked) }); derr != nil {
		return derr
	}
	return err
}

// Sync returns when every event that happened before the call is applied.
func (t *Tracker) Sync(ctx context.Context) error {
	if t.once {
		return nil
	}
	var err error
	if derr := t.do(ctx, func() { err = t.drain() }); derr != nil {
		return derr
	}
	return err
}

// View calls f with the table, which f must not keep, and the zombies by
// container id. Other work on the table waits meanwhile.
func (t *Tracker) View(f func(table *identity.Table, zombies map[string]int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t.o.Table, t.zombie)
}

// Look rereads one process from the kernel and calls f with what the table
// then holds of that pid; nil when there is no such nested process, or it has
// told its exit. One that has begun to exit and not told it yet is still held.
func (t *Tracker) Look(ctx context.Context, pid identity.HostPID, f func(*identity.Table, *identity.Process)) error {
	t.mu.Lock()
	if r := t.reread(pid); r != nil && t.o.Table.Holds(r) {
		defer t.mu.Unlock()
		t.lookAt(r, f)
		return nil
	}
	t.mu.Unlock()
	// It is new, has moved, is dead or was never there. The ring says more, and
	// first: before 6.18 the number of a namespace may be that of one whose end
	// is not read yet.
	if err := t.Sync(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.o.Source.Task(uint32(pid))
	switch {
	case err != nil && !errors.Is(err, bpf.ErrNoProcess):
		return err
	case err == nil && r != nil && !r.Zombie:
		t.lookAt(r, f)
		return nil
	}
	p := t.o.Table.Process(pid)
	if p != nil && (r == nil || r.Start != p.Key.Start) {
		p = nil // somebody else's by now, or nobody's
	}
	f(t.o.Table, p)
	return nil
}

// reread asks the kernel for a living nested process; nil when there is none, or
// it cannot be told. The lock is held.
func (t *Tracker) reread(pid identity.HostPID) *bpf.Process {
	r, err := t.o.Source.Task(uint32(pid))
	if err != nil || r == nil || r.Zombie {
		return nil
	}
	return r
}

func (t *Tracker) lookAt(r *bpf.Process, f func(*identity.Table, *identity.Process)) {
	t.o.Table.Apply(r)
	t.settle()
	f(t.o.Table, t.o.Table.Process(identity.HostPID(r.PID)))
}

// Nested asks the kernel whether a pid is a nested process's, living or not yet
// reaped.
func (t *Tracker) Nested(pid identity.HostPID) bool {
	r, err := t.o.Source.Task(uint32(pid))
	return err == nil && r != nil
}

// Stats returns the counters.
func (t *Tracker) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}
