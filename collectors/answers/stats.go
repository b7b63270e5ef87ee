package answers

import (
	"context"
	"errors"
	"time"

	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/overlay"
	"github.com/eyas-agent/eyas/collectors/processes"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// Numbers are the collectors whose series Stats tells row by row. All but
// Processes may be nil.
type Numbers struct {
	Since     time.Time // when they began to count
	Processes interface {
		Totals(context.Context, identity.Clock, func(*identity.Container) bool) ([]processes.Total, error)
	}
	Cgroups interface {
		Totals(func(*identity.Container) bool) map[string]cgroups.Stats
	}
	Overlay interface {
		Totals() (map[string]overlay.Bytes, bool, error)
	}
	Denials interface {
		Totals(now time.Time) (map[string]uint64, bool, error)
	}
}

// errNoCounts is an answer without an agent: a snapshot has counted nothing.
var errNoCounts = errors.New("nothing has been counted: only a running agent does")

// Stats answers what every live container uses and has done, parents before
// children; with a chain, that container and those inside it. What lies in the
// kernel's ring is heard first.
func (a *Answers) Stats(ctx context.Context, chain string) ([]identity.StatsRow, error) {
	n := a.Numbers
	if n == nil {
		return nil, errNoCounts
	}
	if err := a.Tracker.Sync(ctx); err != nil {
		return nil, err
	}
	want := func(*identity.Container) bool { return true }
	if chain != "" {
		c, err := a.Select(chain)
		if err != nil {
			return nil, err
		}
		want = func(x *identity.Container) bool { return within(x, c.ID) }
	}
	// Not the time of day, which may be set meanwhile: rates follow from it.
	now := a.Clock.At(tracker.Now())
	totals, err := n.Processes.Totals(ctx, a.Clock, want)
	if err != nil {
		return nil, err
	}
	var io map[string]overlay.Bytes
	layered := false
	if n.Overlay != nil {
		if io, layered, err = n.Overlay.Totals(); err != nil {
			return nil, err
		}
	}
	var refused map[string]uint64
	told := false
	if n.Denials != nil {
		if refused, told, err = n.Denials.Totals(time.Now()); err != nil {
			return nil, err
		}
	}
	var limits map[string]cgroups.Stats
	if n.Cgroups != nil {
		limits = n.Cgroups.Totals(want)
	}
	rows := make([]identity.StatsRow, 0, len(totals))
	for _, p := range totals {
		r := identity.DescribeStats(p.Container)
		r.Time, r.Since = now, n.Since
		r.Processes, r.Threads, r.Zombies = p.Processes, p.Threads, p.Zombies
		r.Forks, r.Execs = p.Counts.Forks, p.Counts.Execs
		if layered {
			b := io[r.ID]
			r.Overlay = &identity.StatsOverlay{Read: b.Read, Written: b.Written, CopiedUp: b.CopiedUp}
		}
		if told {
			n := refused[r.ID]
			r.Denials = &n
		}
		if s, ok := limits[r.ID]; ok {
			if s.Memory != nil {
				r.Memory = use(s.Memory.Current, s.Memory.Max)
			}
			if s.PIDs != nil {
				r.PIDs = use(s.PIDs.Current, s.PIDs.Max)
			}
			r.Pressure = pressure(s.Pressure)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func use(current, limit uint64) *identity.StatsUse {
	u := &identity.StatsUse{Current: current}
	if limit != cgroups.NoLimit {
		u.Max = &limit
	}
	return u
}

func pressure(all map[string]cgroups.Pressure) *identity.StatsPressure {
	if len(all) == 0 {
		return nil
	}
	of := func(resource string) *float64 {
		if p, ok := all[resource]; ok {
			return &p.Recent
		}
		return nil
	}
	return &identity.StatsPressure{CPU: of("cpu"), Memory: of("memory"), IO: of("io")}
}
