package prepare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// leaf is the cgroup that the container's own processes are moved into.
const leaf = delegation.DefaultLeaf

// Options of a Preparer.
type Options struct {
	Dir   string // ledger's directory
	Files string // where the generated files live; below state-dir, root's
	Mount string // of cgroup2
	Sys   string // /sys
	Boot  string // the kernel's boot id
	Host  sources.Host
	Pool  subid.Options

	Profiles []Profile // nil: Profiles()
	Default  string    // the profile of those who name none; "": the first

	// Known returns the user namespaces that the identity table knows: without
	// that witness no range is ever proved free.
	Known func() ([]sources.Namespace, error)
	Now   func() time.Time
	Log   zerolog.Logger

	// fault is called between steps; tests kill the process there.
	fault func(point string)
}

// Preparer prepares and releases. Safe for concurrent use; one change at a time.
type Preparer struct {
	o      Options
	mu     sync.Mutex // one change at a time
	ledger *ledger.Ledger
	pool   *subid.Pool
	groups *delegation.Hierarchy
	prover *sources.Prover
	primer *primer
}

// Open takes the ledger for this process. The error is a *ledger.HeldError when
// another agent has it.
func Open(o Options) (_ *Preparer, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.fault == nil {
		o.fault = func(string) {}
	}
	if o.Profiles == nil {
		o.Profiles = Profiles()
	}
	if o.Default == "" {
		o.Default = o.Profiles[0].Name
	}
	p := &Preparer{o: o, prover: sources.NewProver(o.Host.Proc, o.Known)}
	if p.ledger, err = ledger.Open(ledger.Options{Dir: o.Dir, Now: o.Now}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if p.groups, err = delegation.Open(o.Mount, o.Sys); err != nil {
		return nil, err
	}
	p.primer = newPrimer(
		func(ctx context.Context) error { return p.groups.Prime(ctx, o.Host.Proc) },
		func(err error) { o.Log.Info().Err(err).Msg("containers start some 10 ms later than they could") })
	if err = p.restore(); err != nil {
		return nil, err
	}
	for _, b := range p.ledger.Blocked() {
		o.Log.Error().Str("file", b.File).Str("reason", b.Reason).Msg("a lease could not be read: its range stays taken until somebody looks at the file")
	}
	return p, nil
}

// Close lets go of the ledger. Nothing is released.
func (p *Preparer) Close() error {
	var errs []error
	if p.primer != nil {
		p.primer.close()
	}
	if p.groups != nil {
		errs = append(errs, p.groups.Close())
	}
	if p.ledger != nil {
		errs = append(errs, p.ledger.Close())
	}
	return errors.Join(errs...)
}

// restore makes the pool what the ledger says; the ledger is the truth.
func (p *Preparer) restore() error {
	pool, err := subid.New(p.o.Pool)
	if err != nil {
		return err
	}
	var records []subid.Record
	for _, l := range p.ledger.List() {
		if l.Range.Empty() {
			continue
		}
		r := subid.Record{ID: l.ID, Range: subid.Range(l.Range), State: subid.Leased, Since: l.Created}
		switch l.State {
		case ledger.Releasing:
			r.State, r.Since = subid.Releasing, l.Updated
			// A clock that was ahead must not make every proof too old: those to
			// come are begun after now.
			if now := p.o.Now(); r.Since.After(now) {
				r.Since = now
			}
		case ledger.Tombstone:
			r.State, r.Since = subid.Tombstone, l.Released
		}
		records = append(records, r)
	}
	var blocked []subid.Blocked
	for _, b := range p.ledger.Blocked() {
		if b.Known {
			blocked = append(blocked, subid.Blocked{Range: subid.Range(b.Range), Why: b.String()})
		}
	}
	if err := pool.Restore(records, blocked); err != nil {
		// What is doubtful is blocked; the rest works.
		p.o.Log.Error().Err(err).Msg("leases contradict each other")
	}
	p.pool = pool
	return nil
}

// Leases returns what is on record, tombstones included.
func (p *Preparer) Leases(context.Context) (Leases, error) {
	return Leases{Leases: p.ledger.List(), Blocked: p.ledger.Blocked()}, nil
}

// Leases is what is on record.
type Leases struct {
	Leases  []ledger.Lease   `json:"leases"`
	Blocked []ledger.Blocked `json:"blocked,omitempty"`
}

// Owner returns the lease that a host id is in, or was in last.
func (p *Preparer) Owner(id uint32) (ledger.Lease, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.pool.Owner(id)
	if !ok {
		return ledger.Lease{}, false
	}
	return p.ledger.Get(r.ID)
}

// delegate is to whom a container's cgroup is given.
func delegate(t Target, pr Profile) (uint32, uint32, error) {
	if pr.Owner != OwnerRoot {
		return uint32(t.UID), uint32(t.GID), nil
	}
	uid, ok1 := t.UIDs.ToHost(identity.UID(0))
	gid, ok2 := t.GIDs.ToHost(identity.GID(0))
	if !ok1 || !ok2 {
		return 0, 0, fmt.Errorf("the container's user namespace has no root: use owner %q", OwnerProcess)
	}
	return uint32(uid), uint32(gid), nil
}
