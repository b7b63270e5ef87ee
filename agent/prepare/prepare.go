package prepare

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/ledger"
)

// Result is what Prepare did, or would do.
type Result struct {
	Lease   ledger.Lease `json:"lease"`
	Subuid  string       `json:"subuid,omitempty"` // the files, as the container gets them
	Subgid  string       `json:"subgid,omitempty"`
	Actions []string     `json:"actions"` // changes made, or to be made
	Notes   []string     `json:"notes,omitempty"`
}

// stepFiles is on record while the generated files exist.
const stepFiles = "files"

// undoAll are the steps that may have been done when a crash left no record.
var undoAll = []string{"leaf:" + leaf, "own:" + leaf, "own:."}

// Plan says what Prepare would do, and changes nothing.
func (p *Preparer) Plan(_ context.Context, t Target, pr Profile) (Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, _, err := p.grant(t, pr)
	if rerr := p.restore(); err == nil { // what was granted for show is given back
		err = rerr
	}
	if err != nil {
		return Result{}, fmt.Errorf("plan %s: %w", t.ID, err)
	}
	if pr.Delegate {
		actions, err := p.groups.Plan(request(r.Lease, pr))
		if err != nil {
			return Result{}, fmt.Errorf("plan %s: %w", t.ID, err)
		}
		for _, a := range actions {
			for _, c := range a.Changes {
				r.Actions = append(r.Actions, fmt.Sprintf("%s: %s", a.Step, c))
			}
		}
	}
	if pr.Files && r.Subuid != "" {
		r.Actions = append(r.Actions, "mount /etc/subuid and /etc/subgid, read-only")
	}
	return r, nil
}

// Prepare prepares a container. It may be repeated after an error or a crash:
// what was done already is not done again. After an error the lease stays on
// record as an intent, and Release takes back what was done.
func (p *Preparer) Prepare(ctx context.Context, t Target, pr Profile) (Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, err := p.prepare(ctx, t, pr)
	if err != nil {
		return Result{}, fmt.Errorf("prepare %s: %w", t.ID, err)
	}
	return r, nil
}

func (p *Preparer) prepare(ctx context.Context, t Target, pr Profile) (Result, error) {
	r, had, err := p.grant(t, pr)
	if err != nil {
		return r, errors.Join(err, p.restore())
	}
	p.o.fault("granted")
	if pr.Delegate && !had {
		// What is refused leaves no lease behind.
		if _, err := p.groups.Plan(request(r.Lease, pr)); err != nil {
			return r, errors.Join(err, p.restore())
		}
	}
	if !had {
		if r.Lease, err = p.ledger.Create(r.Lease); err != nil {
			return r, errors.Join(err, p.restore())
		}
	}
	p.o.fault("intended")
	return p.carryOut(ctx, t, pr, r)
}

// carryOut does what a lease on record is for, and completes it. A start waits for
// every write of the ledger, so the steps of the cgroup go on record with what
// follows them: what a crash leaves of them is undone without, see undoAll.
func (p *Preparer) carryOut(ctx context.Context, t Target, pr Profile, r Result) (_ Result, err error) {
	id := r.Lease.ID
	if pr.Delegate {
		steps, err := p.giveCgroup(ctx, request(r.Lease, pr))
		if err != nil {
			return r, errors.Join(err, p.noteSteps(&r, steps))
		}
		r.Actions = append(r.Actions, steps...)
	}
	if pr.Files && r.Subuid != "" {
		r.Actions = append(r.Actions, stepFiles)
		if err := p.noteSteps(&r, r.Actions); err != nil {
			return r, err
		}
		p.o.fault("files intended")
		if err := p.mountFiles(t, r); err != nil {
			return r, err
		}
		p.o.fault("files mounted")
	}
	if r.Lease.State == ledger.Intent {
		r.Lease, err = p.ledger.Advance(id, ledger.Done, func(l *ledger.Lease) { l.Steps, l.Unsettled = union(l.Steps, r.Actions), false })
	} else {
		err = p.noteSteps(&r, r.Actions)
	}
	if err != nil {
		return r, err
	}
	p.o.fault("done")
	return r, nil
}

// giveCgroup hands a cgroup over and verifies it. It returns the steps that may have
// been done, also with an error.
func (p *Preparer) giveCgroup(ctx context.Context, q delegation.Request) ([]string, error) {
	steps, err := p.groups.Delegate(ctx, q)
	p.o.fault("delegated")
	if err != nil {
		return steps, err
	}
	diffs, err := p.groups.Verify(q)
	if err == nil && len(diffs) > 0 {
		err = fmt.Errorf("the cgroup is not as it was handed over: %s: somebody else changes it", diffs[0])
	}
	return steps, err
}

// noteSteps adds steps to a lease.
func (p *Preparer) noteSteps(r *Result, steps []string) error {
	all := union(slices.Clone(r.Lease.Steps), steps)
	if len(all) == len(r.Lease.Steps) {
		return nil
	}
	l, err := p.ledger.Update(r.Lease.ID, func(l *ledger.Lease) { l.Steps = all })
	if err == nil {
		r.Lease = l
	}
	return err
}

func request(l ledger.Lease, pr Profile) delegation.Request {
	return delegation.Request{
		Path: l.Cgroup, ID: l.CgroupID, UID: l.UID, GID: l.GID, Leaf: leaf,
		MaxDescendants: pr.MaxDescendants, MaxDepth: pr.MaxDepth,
	}
}

// union keeps the order of a and adds what is new in b.
func union(a, b []string) []string {
	seen := map[string]bool{}
	for _, s := range a {
		seen[s] = true
	}
	for _, s := range b {
		if !seen[s] {
			seen[s] = true
			a = append(a, s)
		}
	}
	return a
}
