package answers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/overlay"
	"github.com/eyas-agent/eyas/collectors/processes"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// counted is what the collectors have counted of the containers of a table.
type counted struct {
	tracker *tracker.Tracker
	limits  map[string]cgroups.Stats
	io      map[string]overlay.Bytes
	layered bool
	err     error // of processes
	ioErr   error
}

func (c *counted) each(want func(*identity.Container) bool, f func(*identity.Container)) {
	c.tracker.View(func(t *identity.Table, _ map[string]int) {
		for _, x := range t.Containers() {
			if want(x) {
				f(x)
			}
		}
	})
}

type ofProcesses struct{ *counted }

func (c ofProcesses) Totals(_ context.Context, clock identity.Clock, want func(*identity.Container) bool) (out []processes.Total, _ error) {
	c.each(want, func(x *identity.Container) {
		out = append(out, processes.Total{
			Container: x.Record(clock), Processes: x.Live, Threads: 2, Zombies: 3, Counts: bpf.Counts{Forks: 4, Execs: 5},
		})
	})
	return out, c.err
}

type ofCgroups struct{ *counted }

func (c ofCgroups) Totals(want func(*identity.Container) bool) map[string]cgroups.Stats {
	out := map[string]cgroups.Stats{}
	c.each(want, func(x *identity.Container) {
		if s, ok := c.limits[x.ID]; ok {
			out[x.ID] = s
		}
	})
	return out
}

type ofOverlay struct{ *counted }

func (c ofOverlay) Totals() (map[string]overlay.Bytes, bool, error) { return c.io, c.layered, c.ioErr }

// A row has all that is counted of a container; what is not is null, and a chain
// leaves the others out.
func TestStats(t *testing.T) {
	p := nested(100, false)
	p.PIDLevels = append(p.PIDLevels, bpf.Level{PID: 1, PIDNS: 5, PIDNSStart: 7})
	tr := tracker.New(tracker.Options{Source: kernel{map[uint32]*bpf.Process{100: p}}, Table: identity.NewTable(identity.Options{}), Clock: boot, Log: zerolog.Nop()})
	a := &Answers{Clock: boot, Tracker: tr}
	if err := tr.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Stats(t.Context(), ""); !errors.Is(err, errNoCounts) {
		t.Errorf("of a snapshot: %v", err)
	}
	all := a.liveContainers()
	outer, inner := all[0], all[1]
	c := &counted{tracker: tr}
	since := boot.Boot.Add(time.Second)
	a.Numbers = &Numbers{Since: since, Processes: ofProcesses{c}}
	row := func(r identity.ContainerRecord, live int) identity.StatsRow {
		return identity.StatsRow{
			Since: since, ID: r.ID, Parent: r.Parent, Name: r.Display, Level: r.Level, Processes: live, Threads: 2, Zombies: 3, Forks: 4, Execs: 5,
		}
	}
	check := func(what, chain string, want ...identity.StatsRow) {
		t.Helper()
		before := boot.At(tracker.Now())
		got, err := a.Stats(t.Context(), chain)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if r.Time.Before(before) || r.Time.After(boot.At(tracker.Now())) || !r.Time.Equal(got[0].Time) {
				t.Errorf("%s: at %s", what, r.Time)
			}
		}
		if d := cmp.Diff(want, got, cmpopts.IgnoreFields(identity.StatsRow{}, "Time")); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	check("processes alone", "", row(outer, 0), row(inner, 1))
	a.Numbers.Cgroups, a.Numbers.Overlay = ofCgroups{c}, ofOverlay{c}
	check("nothing else is counted here", "", row(outer, 0), row(inner, 1))

	c.layered = true
	c.io = map[string]overlay.Bytes{inner.ID: {Read: 7, Written: 8, CopiedUp: 9}}
	c.limits = map[string]cgroups.Stats{
		outer.ID: {Memory: &cgroups.Memory{Current: 12, Max: cgroups.NoLimit}, PIDs: &cgroups.PIDs{Current: 10, Max: cgroups.NoLimit}},
		inner.ID: {Memory: &cgroups.Memory{Current: 13, Max: 14}, PIDs: &cgroups.PIDs{Current: 10, Max: 11}, Pressure: map[string]cgroups.Pressure{"cpu": {Recent: 1.5}, "io": {}}},
	}
	num := func(n uint64) *uint64 { return &n }
	share := func(v float64) *float64 { return &v }
	x, y := row(outer, 0), row(inner, 1)
	x.PIDs, y.PIDs = &identity.StatsUse{Current: 10}, &identity.StatsUse{Current: 10, Max: num(11)}
	x.Memory, y.Memory = &identity.StatsUse{Current: 12}, &identity.StatsUse{Current: 13, Max: num(14)}
	y.Pressure = &identity.StatsPressure{CPU: share(1.5), IO: share(0)}
	x.Overlay, y.Overlay = &identity.StatsOverlay{}, &identity.StatsOverlay{Read: 7, Written: 8, CopiedUp: 9}
	check("everything", "", x, y)
	check("of one", inner.ID, y)
	check("of one with those inside", outer.ID, x, y)
	if _, err := a.Stats(t.Context(), "nobody"); !errors.Is(err, identity.ErrNoContainer) {
		t.Errorf("of nobody: %v", err)
	}
	c.ioErr = errors.New("cannot read the map")
	if _, err := a.Stats(t.Context(), ""); !errors.Is(err, c.ioErr) {
		t.Errorf("overlays: %v", err)
	}
	c.err = errors.New("cannot read the counts")
	if _, err := a.Stats(t.Context(), ""); !errors.Is(err, c.err) {
		t.Errorf("processes: %v", err)
	}
}
