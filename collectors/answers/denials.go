package answers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// ErrNoDenials means that refusals are not known: nobody follows them here.
var ErrNoDenials = errors.New("what was refused is not known here")

// Refusals follows what containers are refused.
type Refusals interface {
	// Sync hears what the kernel has to tell by now.
	Sync(now time.Time) error
	Records() []identity.DenialRecord
	// Of returns the kinds of refusals that a process met, as it met them.
	Of(identity.HostPID) ([]identity.DenialRecord, error)
	// Blind says why nothing is told here, "" if something is.
	Blind() string
	// Capabilities reports whether a missing capability is told as the cause.
	Capabilities() bool
	// Trace has every refused call told until ctx ends; began hears why parts of it do
	// not tell, by hook.
	Trace(ctx context.Context, began func(missing map[string]string) error) error
}

// MaxTrace is how long a trace may last, for whoever forgets it.
const MaxTrace = 10 * time.Minute

// TraceDenials has every refused call of nested processes told, whatever it is, until
// ctx ends, or for MaxTrace. began hears when it is on, and why parts of it do not tell,
// by hook.
func (a *Answers) TraceDenials(ctx context.Context, began func(missing map[string]string) error) error {
	if a.Refusals == nil {
		return fmt.Errorf("%w: it takes a running agent", ErrNoDenials)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := a.Refusals.Trace(ctx, func(missing map[string]string) error {
		// As long as may be asked for, and what it takes to ask for the last time.
		time.AfterFunc(MaxTrace+time.Minute, cancel)
		return began(missing)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDenials, err)
	}
	return nil
}

// DenialQuery asks for refusals; zero values ask for all.
type DenialQuery struct {
	Chain string           // of this container, and of those inside it
	PID   identity.HostPID // that this process met
}

// Denials answers what containers were refused, by kind, the latest first.
func (a *Answers) Denials(ctx context.Context, q DenialQuery) ([]identity.DenialAnswer, error) {
	if err := a.Tracker.Sync(ctx); err != nil {
		return nil, err
	}
	only := ""
	if q.Chain != "" {
		c, err := a.Select(q.Chain)
		if err != nil {
			return nil, err
		}
		only = c.ID
	}
	if a.Refusals == nil {
		return nil, fmt.Errorf("%w: it takes a running agent", ErrNoDenials)
	}
	if why := a.Refusals.Blind(); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrNoDenials, why)
	}
	if err := a.Refusals.Sync(time.Now()); err != nil {
		return nil, fmt.Errorf("read refusals: %w", err)
	}
	blind := !a.Refusals.Capabilities()
	out := []identity.DenialAnswer{}
	asked, err := a.asked(q, only)
	if err != nil {
		return nil, err
	}
	for _, r := range asked {
		p, err := a.whoWas(r)
		if err != nil {
			return nil, err
		}
		a.Tracker.View(func(t *identity.Table, _ map[string]int) {
			d := identity.DescribeDenial(r, p, a.node(t), lookup{a, t})
			d.CapabilityUnknown = blind && r.Cause == identity.DeniedOther
			out = append(out, d)
		})
	}
	slices.SortFunc(out, func(x, y identity.DenialAnswer) int { return y.Time.Compare(x.Time) })
	return out, nil
}

// asked are the records that a query is about. A container is among those of
// another if that is around it; each is looked for once.
func (a *Answers) asked(q DenialQuery, only string) (all []identity.DenialRecord, err error) {
	var records []identity.DenialRecord
	if q.PID == 0 {
		records = a.Refusals.Records()
	} else if records, err = a.Refusals.Of(q.PID); err != nil {
		return nil, fmt.Errorf("read refusals of pid %d: %w", q.PID, err)
	}
	var start uint64 // of whoever has the pid now
	inside := map[string]bool{"": only == ""}
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		if p := t.Process(q.PID); p != nil {
			start = p.Key.Start
		}
		for _, r := range records {
			if _, ok := inside[r.Container]; ok {
				continue
			}
			inside[r.Container] = only == "" || slices.ContainsFunc(identity.ChainOf(r.Container, lookup{a, t}), func(c identity.ContainerRecord) bool { return c.ID == only })
		}
	})
	for _, r := range records {
		switch {
		case !inside[r.Container]:
		case q.PID == 0, start == 0, r.Start == start:
			all = append(all, r)
		}
	}
	return all, nil
}

// whoWas returns the process that was refused, if it lives or is remembered.
func (a *Answers) whoWas(r identity.DenialRecord) (found *identity.ProcessRecord, err error) {
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		if p := t.Process(r.PID); p != nil && p.Key.Start == r.Start {
			rec := p.Record(a.Clock)
			found = &rec
		}
	})
	if found != nil || a.History == nil {
		return found, nil
	}
	past, err := a.History.Processes(r.PID, 4) // a pid comes back
	if err != nil {
		return nil, err
	}
	for i := range past {
		if past[i].Start == r.Start {
			return &past[i], nil
		}
	}
	return nil, nil
}
