package answers

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// Who ends while it is looked at is left out, and who does not exist is an error.
func TestDisks(t *testing.T) {
	a := &Answers{
		Clock: boot, History: memory{}, Proc: t.TempDir(), // nobody lives there
		Tracker: tracker.New(tracker.Options{Source: kernel{map[uint32]*bpf.Process{100: nested(100, false)}}, Table: identity.NewTable(identity.Options{}), Clock: boot, Log: zerolog.Nop()}),
	}
	if err := a.Tracker.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, chain := range []string{"", a.liveContainers()[0].ID} {
		if all, err := a.Disks(t.Context(), chain, 1); err != nil || all == nil || len(all) != 0 {
			t.Errorf("%q: %+v, %v", chain, all, err)
		}
	}
	if _, err := a.Disks(t.Context(), "nobody", 1); !errors.Is(err, identity.ErrNoContainer) {
		t.Errorf("of nobody: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Disks(ctx, "", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Layers are looked for through one process of each mount namespace of a
// container and of those around it, and through who started them.
func TestMounters(t *testing.T) {
	table := identity.NewTable(identity.Options{})
	put := func(pid, ppid, mntns uint32, levels ...bpf.Level) {
		table.Apply(&bpf.Process{
			Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, PPID: ppid, Threads: 1, Comm: "sh", MntNS: mntns,
			PIDLevels: append([]bpf.Level{{PID: pid, PIDNS: 1}}, levels...), UserLevels: []bpf.Level{{UserNS: 3}},
		})
	}
	outer := func(pid uint32) bpf.Level { return bpf.Level{PID: pid, PIDNS: 2, PIDNSStart: 10, PIDNSOwner: 3} }
	inner := bpf.Level{PID: 1, PIDNS: 4, PIDNSStart: 20, PIDNSOwner: 3}
	put(10, 7, 100, outer(1))
	put(11, 10, 100, outer(2)) // sees what the first one sees
	put(12, 10, 101, outer(3)) // an engine with mounts of its own
	put(20, 12, 102, outer(4), inner)
	c := table.Process(20).Container
	got := mounters(table, c, membersOf(table))
	if want := []identity.HostPID{20, 12, 10, 12, 7}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
