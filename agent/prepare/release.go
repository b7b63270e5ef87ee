package prepare

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// ErrRunning: the container of a lease lives.
var ErrRunning = errors.New("its container still runs")

// ReleaseOptions of Release.
type ReleaseOptions struct {
	DryRun bool `json:"dry_run"`
	// Force takes the cgroup back though its container runs. Its range is freed
	// when it has ended: the container was told of the range, and may use it yet.
	Force bool `json:"force"`
}

// Release takes back what a container was lent. What cannot be freed yet stays
// on record as releasing, with the reason, and is tried again by Reconcile.
// Releasing a lease that is released already changes nothing.
func (p *Preparer) Release(ctx context.Context, id string, o ReleaseOptions) (Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ledger.ValidID(id) {
		return Result{}, fmt.Errorf("release lease %.80q: %w: see eyas leases", id, ledger.ErrNoLease)
	}
	r, err := p.release(ctx, id, o)
	if err != nil {
		return r, fmt.Errorf("release %s: %w", id, err)
	}
	return r, nil
}

func (p *Preparer) release(ctx context.Context, id string, o ReleaseOptions) (r Result, err error) {
	l, ok := p.ledger.Get(id)
	if !ok {
		return r, fmt.Errorf("%w: see eyas leases", ledger.ErrNoLease)
	}
	r.Lease = l
	if l.State == ledger.Tombstone {
		return r, nil
	}
	if l.State != ledger.Releasing && !o.Force {
		if err := p.ended(l); err != nil {
			return r, err
		}
	}
	if o.DryRun {
		r.Actions = append(r.Actions, "take back cgroup "+l.Cgroup)
		if !l.Range.Empty() {
			proof := p.prove(l)
			r.Actions = append(r.Actions, "free "+l.Range.String()+": "+proofText(proof))
		}
		return r, nil
	}
	if l.State != ledger.Releasing {
		if r.Lease, err = p.ledger.Advance(id, ledger.Releasing, nil); err != nil {
			return r, err
		}
	}
	p.o.fault("releasing")
	if err := p.takeBack(ctx, &r, l); err != nil {
		return r, err
	}
	return r, p.free(&r)
}

// ended asks the kernel whether the container of a lease is over.
func (p *Preparer) ended(l ledger.Lease) error {
	if l.Boot == p.o.Boot && reserved(l) {
		return fmt.Errorf("%w, or is about to start: remove it, or use --force", ErrRunning)
	}
	if l.Boot != p.o.Boot || l.Cgroup == "" {
		return nil
	}
	populated, err := p.groups.Populated(delegation.Request{Path: l.Cgroup, ID: l.CgroupID})
	switch {
	case errors.Is(err, delegation.ErrGone), errors.Is(err, delegation.ErrReplaced):
		return nil
	case err != nil:
		return err
	case populated:
		return fmt.Errorf("%w (cgroup %q has processes): stop it, or use --force", ErrRunning, l.Cgroup)
	}
	return nil
}

// takeBack undoes the steps of a lease, the last first.
func (p *Preparer) takeBack(ctx context.Context, r *Result, l ledger.Lease) error {
	if err := p.removeFiles(l.ID); err != nil {
		return err
	}
	p.o.fault("files removed")
	if l.Boot != p.o.Boot || l.Cgroup == "" {
		return nil // its cgroup went with the kernel that had it
	}
	// A crash may have come between doing a step and noting it.
	undone, err := p.groups.Undelegate(ctx, request(l, Profile{}), union(append([]string(nil), l.Steps...), undoAll))
	r.Actions = append(r.Actions, undone...)
	if err != nil {
		return err
	}
	p.o.fault("undelegated")
	return nil
}

// prove asks whether anybody has the range of a lease. A container that runs on
// after --force has it in its /etc/subuid, and may come to use it.
func (p *Preparer) prove(l ledger.Lease) subid.Proof {
	proof := subid.Proof{Range: subid.Range(l.Range), Liveness: subid.Released, At: p.o.Now()}
	switch err := p.ended(l); {
	case errors.Is(err, ErrRunning):
		proof.Add(subid.Evidence{Answer: subid.Alive, Text: fmt.Sprintf("its container still runs (cgroup %q has processes)", l.Cgroup)})
	case err != nil:
		proof.Add(subid.Evidence{Answer: subid.Indeterminate, Text: err.Error()})
	default:
		return p.prover.Prove(subid.Range(l.Range))
	}
	return proof
}

// free ends a lease on proof that nobody uses its range.
func (p *Preparer) free(r *Result) (err error) {
	id, text := r.Lease.ID, "no host ids"
	if !r.Lease.Range.Empty() {
		if err := p.pool.StartRelease(id, p.o.Now()); err != nil {
			return err
		}
		proof := p.prove(r.Lease)
		text = proofText(proof)
		if proof.Liveness != subid.Released {
			return errors.Join(p.pool.Release(id, p.o.Now(), proof), p.note(r, text))
		}
		p.o.fault("proved")
		// The pool judges the proof, and is memory: until the ledger has it on the
		// disk nothing is free.
		if err := p.pool.Release(id, p.o.Now(), proof); err != nil {
			return err
		}
		p.o.fault("judged")
	}
	lease, err := p.ledger.Advance(id, ledger.Tombstone, func(l *ledger.Lease) { l.Proof = text })
	if err != nil {
		return errors.Join(err, p.restore())
	}
	r.Lease = lease
	p.o.fault("buried")
	return nil
}

// note keeps why a range is not free yet.
func (p *Preparer) note(r *Result, text string) error {
	if r.Lease.Proof == text {
		return nil
	}
	lease, err := p.ledger.Update(r.Lease.ID, func(l *ledger.Lease) { l.Proof = text })
	if err != nil {
		return err
	}
	r.Lease = lease
	p.o.fault("noted")
	return nil
}

// proofText is what the ledger keeps of a proof.
func proofText(p subid.Proof) string {
	parts := []string{p.Liveness.String()}
	for _, e := range p.Evidence {
		parts = append(parts, e.Text)
	}
	if p.More > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", p.More))
	}
	s := identity.Valid(strings.Join(parts, "; "))
	const most = 900 // the ledger keeps 1024
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Report is what Reconcile found and did.
type Report struct {
	Released []string // leases that ended
	Waiting  []string // that cannot be freed yet
	Live     int
}

// Reconcile takes back what containers that have ended were lent, and what a
// crash left half done. Errors of one lease do not hold up the others, and
// between two leases others get their turn.
//
// A lease in state intent whose container runs stays as it is, and counts as
// live: whoever asked was not told that it is done and asks again, or the
// container ends. To finish it here would hand over what nobody waits for, to a
// container that may have started meanwhile; to undo it would race with who asks.
func (p *Preparer) Reconcile(ctx context.Context) (Report, error) {
	var rep Report
	var errs []error
	for _, l := range p.ledger.List() {
		if err := ctx.Err(); err != nil {
			return rep, errors.Join(append(errs, err)...)
		}
		if !l.Live() {
			continue
		}
		p.mu.Lock()
		_, err := p.release(ctx, l.ID, ReleaseOptions{})
		p.mu.Unlock()
		var held *subid.NotReleasedError
		switch {
		case err == nil:
			rep.Released = append(rep.Released, l.ID)
		case errors.Is(err, ErrRunning):
			rep.Live++
		case errors.As(err, &held):
			rep.Waiting = append(rep.Waiting, l.ID)
		default:
			errs = append(errs, fmt.Errorf("release %s: %w", l.ID, err))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.ledger.Prune(); err != nil {
		errs = append(errs, err)
	}
	return rep, errors.Join(errs...)
}
