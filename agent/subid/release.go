package subid

import (
	"fmt"
	"time"
)

// StartRelease marks a lease as being released: its owner is gone, and nothing
// new may start in it. Repeating it keeps the first time. An id without a lease
// is ErrUnknown.
func (p *Pool) StartRelease(id string, now time.Time) error {
	l := p.leases[id]
	if l == nil {
		return fmt.Errorf("start release of %s: %w", quote(id), ErrUnknown)
	}
	if l.state == Leased {
		l.state, l.since = Releasing, now
	}
	return nil
}

// Release frees a lease whose release was started, if the proof says Released
// for all of its range and was begun since; the blocks go to quarantine. A
// proof from before StartRelease proves nothing: between lease and start of a
// container nobody uses its range either.
//
// Any other proof leaves everything as it is and gives a *NotReleasedError; an
// id without a lease is ErrUnknown.
func (p *Pool) Release(id string, now time.Time, proof Proof) error {
	l := p.leases[id]
	if l == nil {
		return fmt.Errorf("release %s: %w", quote(id), ErrUnknown)
	}
	refuse := func(why string) error { return &NotReleasedError{Holder: l.record(), Proof: proof, Why: why} }
	switch {
	case l.state != Releasing:
		return refuse("its release was not started")
	case proof.Liveness != Released:
		return refuse("")
	case !proof.Range.Contains(l.r):
		return refuse("the proof is for " + proof.Range.String())
	case proof.At.Before(l.since):
		return refuse("the proof is older than the start of the release: prove again")
	}
	from, to := p.rows(l.r)
	for i := from; i < to; i++ {
		if b := &p.blocks[i]; b.owner == l {
			b.owner, b.freed, b.freedBy = nil, stamp(now), id
			p.settle(i)
		}
	}
	delete(p.leases, id)
	return nil
}
