package tracker

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/history"
	"github.com/eyas-agent/eyas/collectors/identity"
)

var boot = identity.Clock{Boot: time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)}

func remember(t *testing.T, dir, id string) *History {
	t.Helper()
	h, err := OpenMemory(MemoryOptions{Dir: dir, Boot: id, Clock: boot, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// see runs an agent for a moment: a snapshot, and what follows a restart.
func see(t *testing.T, h *History, k *kernel) *Tracker {
	t.Helper()
	tr := New(Options{
		Source: k, Table: identity.NewTable(identity.Options{Boot: "b", Generation: h.Generation}), Memory: h, Clock: boot, Log: zerolog.Nop(),
	})
	if err := errors.Join(tr.Once(t.Context()), h.CloseDead(tr)); err != nil {
		t.Fatal(err)
	}
	return tr
}

func spaced(pid uint32, time uint64) (*bpf.Process, []*bpf.UserNS) {
	p := inUserNS(task(pid, 1, 100), 7, 42)
	p.Time = time
	return p, []*bpf.UserNS{{Time: time, MapSum: 42, Inum: 7, Parent: hostUserNS, Level: 1, OwnerUID: 1000, UID: []bpf.Extent{{Host: 5, Count: 9}}}}
}

// After a restart, who still lives has been seen since before it, who does not
// died when the last agent was alive, and a user namespace is known again.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	h := remember(t, dir, "boot-1")
	k := newKernel(nil, nil, task(200, 1, 200))
	var space []*bpf.UserNS
	k.tasks[0], space = spaced(100, 5e9)
	k.tasks[1], _ = spaced(101, 5e9)
	k.userNS[100], k.userNS[101] = space, space
	see(t, h, k)
	was, _ := h.Process(identity.ProcessKey{PID: 100, Start: 1e9})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}

	h = remember(t, dir, "boot-1")
	k = newKernel(nil)
	k.tasks[0], k.userNS[100] = spaced(100, 9e9)
	see(t, h, k)
	now, ok := h.Process(identity.ProcessKey{PID: 100, Start: 1e9})
	want := was
	want.Last = boot.At(9e9)
	check(t, "who lives", want, now)
	for pid, start := range map[identity.HostPID]uint64{101: 101e7, 200: 200e7} {
		gone, found := h.Process(identity.ProcessKey{PID: pid, Start: start})
		if !ok || !found || !gone.Exited || !gone.Last.Equal(h.Previous().Alive) {
			t.Errorf("pid %d: %v; it died at %v, want %v", pid, found, gone.Last, h.Previous().Alive)
		}
	}
	var states []bool
	all, err := h.Containers(time.Time{}, time.Now())
	for _, c := range all {
		states = append(states, c.Gone)
		if c.Gone != (c.PIDNS.Inum == 200) || (!c.Gone && !c.First.Equal(boot.At(5e9))) {
			t.Errorf("%+v", c)
		}
	}
	check(t, "containers", 2, len(states))
	var keys []identity.NSKey
	err = errors.Join(err, h.UserNSs(func(u identity.UserNSRecord) { keys = append(keys, u.Key) }))
	check(t, "the user namespace kept its generation", []identity.NSKey{{Inum: 7, Gen: 5e9}}, keys)
	if err := errors.Join(err, h.Close()); err != nil {
		t.Fatal(err)
	}

	// In another boot nobody lives, whatever has their pids.
	h = remember(t, dir, "boot-2")
	k.userNS[100][0].Time, k.tasks[0].Time = 11e9, 11e9
	see(t, h, k)
	got, err := h.Processes(100, 9)
	if err != nil || len(got) != 2 || got[0].Exited || !got[1].Exited {
		t.Errorf("pid 100 of two boots: %v, %+v", err, got)
	}
}

// The death of who had left the table completes what is remembered.
func TestLateExit(t *testing.T) {
	h := remember(t, t.TempDir(), "boot-1")
	tr := see(t, h, newKernel(task(100, 1, 100)))
	tr.View(func(table *identity.Table, _ map[string]int) {
		want := table.Process(100).Record(boot)
		h.LateExit(bpf.Exit{PID: 100, Start: 1}, boot.At(9)) // another process
		h.LateExit(*exit(100), boot.At(9e9))
		want.Exited, want.ExitTold, want.ExitCode, want.Last = true, true, 9, boot.At(9e9)
		got, err := h.Processes(100, 9)
		check(t, "record", []identity.ProcessRecord{want}, got)
		if err != nil {
			t.Error(err)
		}
	})
}

// An inner pid is looked for in the container and in those inside it.
func TestInnerHistory(t *testing.T) {
	h := remember(t, t.TempDir(), "boot-1")
	nested := task(150, 100, 100)
	nested.PIDLevels = append(nested.PIDLevels, bpf.Level{PID: 1, PIDNS: 150, PIDNSStart: 150e7, PIDNSOwner: hostUserNS})
	see(t, h, newKernel(task(100, 1, 100), nested, task(250, 1, 200)))
	all, err := h.Containers(time.Time{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint32][]identity.HostPID{}
	for _, c := range all {
		got, err := h.InnerProcesses(c, 51, 9)
		if err != nil {
			t.Error(err)
		}
		for _, p := range got {
			found[c.PIDNS.Inum] = append(found[c.PIDNS.Inum], p.PID)
		}
	}
	check(t, "pid 51", map[uint32][]identity.HostPID{100: {150}, 200: {250}}, found)
}

// A history whose pages are damaged, though it opens, does not keep the agent
// from starting; a mere reader is told.
func TestOpenDamaged(t *testing.T) {
	dir := t.TempDir()
	h := remember(t, dir, "boot-1")
	see(t, h, newKernel(task(100, 1, 100)))
	for pid := identity.HostPID(1000); pid < 3000; pid++ { // a page of its own for what lives
		h.PutProcess(identity.ProcessRecord{PID: pid})
	}
	file := filepath.Join(dir, HistoryFile)
	err := h.Close()
	db, derr := bolt.Open(file, 0o600, nil)
	if err := errors.Join(err, derr); err != nil {
		t.Fatal(err)
	}
	var root int64
	err = db.View(func(tx *bolt.Tx) error { root = int64(tx.Bucket([]byte("live")).Root()); return nil })
	b, rerr := os.ReadFile(file)
	if err := errors.Join(err, rerr, db.Close()); err != nil || root == 0 {
		t.Fatal(err, root)
	}
	copy(b[root*int64(os.Getpagesize())+8:], bytes.Repeat([]byte{0xff}, 8))
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := OpenMemory(MemoryOptions{Dir: dir, Boot: "boot-1", ReadOnly: true}); !errors.Is(err, history.ErrDamaged) {
		t.Errorf("to read: %v, %v", h, err)
	}
	h = remember(t, dir, "boot-1")
	check(t, "set aside", uint64(1), h.Stats().Damaged)
	see(t, h, newKernel(task(100, 1, 100)))
	if got, err := h.Processes(100, 9); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
