package answers

import (
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// Kills come the latest first, with the chain of each victim as far as it is
// remembered, and of one container if that is asked.
func TestOOM(t *testing.T) {
	a := &Answers{
		Clock: boot, History: memory{},
		Tracker: tracker.New(tracker.Options{Source: kernel{map[uint32]*bpf.Process{100: nested(100, false)}}, Table: identity.NewTable(identity.Options{}), Clock: boot, Log: zerolog.Nop()}),
	}
	if err := a.Tracker.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := a.OOM(t.Context(), "", time.Time{})
	if err != nil || len(all) != 3 || !all[0].Time.After(all[1].Time) {
		t.Fatalf("%+v, %v", all, err)
	}
	known := all[2]
	v := known.Victims[0]
	if len(known.Limit.Chain) != 1 || known.Limit.Chain[0].Name != "box" || len(v.Chain) != 2 || *v.Chain[1].PID != 7 || v.RSS != 7 || v.Host.PID != 50 {
		t.Errorf("%+v", known)
	}
	if gone := all[0]; len(gone.Limit.Chain) != 0 || len(gone.Victims[0].Chain) != 1 || gone.Limit.Container != "beef" {
		t.Errorf("not remembered: %+v", gone)
	}
	if late, err := a.OOM(t.Context(), "", boot.Boot.Add(2*time.Second)); err != nil || len(late) != 1 {
		t.Errorf("since later: %+v, %v", late, err)
	}
	if !known.About("cafe") || known.About("beef") || all[1].About("cafe") {
		t.Error("kills are about others")
	}
	if _, err := a.OOM(t.Context(), "nobody", time.Time{}); !errors.Is(err, identity.ErrNoContainer) {
		t.Errorf("of nobody: %v", err)
	}
	live := a.liveContainers()[0].ID
	if none, err := a.OOM(t.Context(), live, time.Time{}); err != nil || none == nil || len(none) != 0 {
		t.Errorf("of one without: %+v, %v", none, err)
	}
	a.History = nil
	if none, err := a.OOM(t.Context(), "", time.Time{}); err != nil || none == nil || len(none) != 0 {
		t.Errorf("without a history: %+v, %v", none, err)
	}
}
