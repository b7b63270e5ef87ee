package history

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// epoch is the time of tests' records; seconds count from it.
var epoch = time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// begin opens a store at a path; the test ends what it began.
func begin(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Boot == "" {
		o.Boot = "boot-a"
	}
	if o.Now == nil {
		o.Now = func() time.Time { return at(1000) }
	}
	o.Log = zerolog.Nop()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func path(t *testing.T) string { return filepath.Join(t.TempDir(), "state", "history.db") }

// flushed writes what is pending.
func flushed(t *testing.T, s *Store) {
	t.Helper()
	if err := s.flush(true); err != nil {
		t.Fatal(err)
	}
}

// process is a live process of container c, its pids of levels 1 and inwards.
func process(pid identity.HostPID, start uint64, c string, pids ...identity.PID) identity.ProcessRecord {
	return identity.ProcessRecord{
		PID: pid, Start: start, StartTime: at(int(start)), UID: 1000, Container: c, PIDs: pids, Comm: "sh",
		Argv: []string{"sh", "-c", "\x1b[2J"}, First: at(int(start)), Last: at(int(start)),
	}
}

func dead(p identity.ProcessRecord, last int) identity.ProcessRecord {
	p.Exited, p.Last, p.ExitCode = true, at(last), 9
	return p
}

func container(id, parent string, first, last int, gone bool) identity.ContainerRecord {
	return identity.ContainerRecord{
		ID: id, Parent: parent, Level: 1, UserNS: identity.NSKey{Inum: 7, Gen: 1}, UserLevel: 1, Display: "web\n",
		First: at(first), Last: at(last), Gone: gone,
	}
}

func userNS(inum uint32, gen uint64) identity.UserNSRecord {
	return identity.UserNSRecord{
		Key: identity.NSKey{Inum: inum, Gen: gen}, Level: 1, OwnerUID: 1000, Mapped: true, Sum: 1<<63 + 1,
		UIDs: identity.UIDMap{{First: 0, Host: 200000, Count: 65536}}, First: at(1), Last: at(2),
	}
}

func processes(t *testing.T, s *Store, pid identity.HostPID, limit int) []identity.ProcessRecord {
	t.Helper()
	got, err := s.Processes(pid, limit)
	if err != nil {
		t.Error(err)
	}
	return got
}

func inner(t *testing.T, s *Store, in []string, level int, pid identity.PID) []identity.ProcessRecord {
	t.Helper()
	got, err := s.InnerProcesses(in, level, pid, 10)
	if err != nil {
		t.Error(err)
	}
	return got
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// Every question has the same answer while records are in memory, when they
// are on disk, and after a reopen.
func TestAnswers(t *testing.T) {
	file := path(t)
	old, now := dead(process(10, 5, "outer", 7), 6), process(10, 20, "nested", 8, 1)
	other, neighbour := process(11, 30, "outer", 7), process(266, 5, "else", 7) // 266: shares its lowest byte with 10
	outer, nested, gone := container("outer", "", 1, 50, false), container("nested", "outer", 20, 50, false), container("gone", "", 1, 9, true)
	space := userNS(7, 1)

	s := begin(t, Options{Path: file})
	for _, p := range []identity.ProcessRecord{process(10, 5, "outer", 7), old, now, other, neighbour} {
		s.PutProcess(p)
	}
	for _, c := range []identity.ContainerRecord{container("outer", "", 1, 2, false), outer, nested, gone} {
		s.PutContainer(c)
	}
	s.PutUserNS(space)

	type records = []identity.ProcessRecord
	check := func(when string) {
		t.Helper()
		same(t, when+": a pid's owners, the newest first", records{now, old}, processes(t, s, 10, 5))
		same(t, when+": limit", records{now}, processes(t, s, 10, 1))
		same(t, when+": nobody", records(nil), processes(t, s, 12, 5))
		same(t, when+": the last pid", records(nil), processes(t, s, 1<<32-1, 5))
		same(t, when+": inner pid", records{other, old}, inner(t, s, []string{"outer", "nested"}, 1, 7))
		same(t, when+": inner pid, deeper", records{now}, inner(t, s, []string{"nested"}, 2, 1))
		same(t, when+": inner pid of a level that is not", records(nil), inner(t, s, []string{"nested"}, 3, 1))
		same(t, when+": level 0", records(nil), inner(t, s, []string{"nested"}, 0, 1))
		one, ok := s.Process(identity.ProcessKey{PID: 10, Start: 5})
		same(t, when+": one process", old, one)
		_, wrong := s.Process(identity.ProcessKey{PID: 10, Start: 6})
		c, okC := s.Container("outer")
		same(t, when+": container", outer, c)
		_, wrongC := s.Container("out")
		u, okU := s.UserNS(space.Key)
		same(t, when+": user namespace", space, u)
		_, wrongU := s.UserNS(identity.NSKey{Inum: 7, Gen: 2})
		same(t, when+": found", []bool{true, false, true, false, true, false}, []bool{ok, wrong, okC, wrongC, okU, wrongU})
		for name, tc := range map[string]struct{ from, to, n int }{
			"all": {0, 100, 3}, "before": {-9, 0, 0}, "early": {3, 4, 2}, "at the end of one": {9, 9, 2}, "after it": {10, 19, 1}, "late": {90, 99, 2},
		} {
			got, err := s.Containers(at(tc.from), at(tc.to))
			if err != nil || len(got) != tc.n {
				t.Errorf("%s: containers %s: %d, %v, want %d", when, name, len(got), err, tc.n)
			}
		}
		var spaces []identity.UserNSRecord
		if err := s.UserNSs(func(u identity.UserNSRecord) { spaces = append(spaces, u) }); err != nil {
			t.Error(err)
		}
		same(t, when+": user namespaces", []identity.UserNSRecord{space}, spaces)
	}
	check("in memory")
	s.flushing, s.pending = s.pending, newPending()
	check("on the way")
	s.flushing, s.pending = pending{}, s.flushing
	flushed(t, s)
	check("on disk")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = begin(t, Options{Path: file})
	check("reopened")
	same(t, "previous run", Previous{Alive: at(1000), Boot: "boot-a"}, s.Previous())
	var live []string
	err := s.Live(func(u Unfinished) { live = append(live, u.Container) })
	same(t, "the living", []string{"nested", "outer", "else"}, live)
	s.Close()

	s = begin(t, Options{Path: file, Boot: "boot-b"})
	later := process(10, 1, "x", 1)
	s.PutProcess(later)
	flushed(t, s)
	same(t, "a later boot is newer, whatever its start", records{later, now, old}, processes(t, s, 10, 9))
	_, ok := s.Process(identity.ProcessKey{PID: 10, Start: 20})
	info, serr := os.Stat(file)
	dir, derr := os.Stat(filepath.Dir(file))
	if err != nil || ok || serr != nil || derr != nil || info.Mode().Perm() != 0o600 || dir.Mode().Perm() != 0o700 {
		t.Errorf("another boot's process: %v; file %v, directory %v, %v", ok, info.Mode(), dir.Mode(), errors.Join(err, serr, derr))
	}
}

// What is in memory is newer than what is on disk.
func TestNewerWords(t *testing.T) {
	s := begin(t, Options{Path: path(t)})
	p, c, u := process(1, 1, "c", 1), container("c", "", 1, 2, false), userNS(7, 1)
	put := func() { s.PutProcess(p); s.PutContainer(c); s.PutUserNS(u) }
	put()
	flushed(t, s)
	p, c.Peak, u.Partial = dead(p, 9), 5, true
	put()
	want := []identity.ProcessRecord{p}
	one, _ := s.Process(identity.ProcessKey{PID: 1, Start: 1})
	same(t, "processes", [][]identity.ProcessRecord{want, want, want}, [][]identity.ProcessRecord{processes(t, s, 1, 9), inner(t, s, []string{"c"}, 1, 1), {one}})
	cs, err := s.Containers(epoch, at(9))
	c1, _ := s.Container("c")
	same(t, "containers", []identity.ContainerRecord{c, c}, append(cs, c1))
	us := []identity.UserNSRecord{}
	err = errors.Join(err, s.UserNSs(func(r identity.UserNSRecord) { us = append(us, r) }))
	u1, _ := s.UserNS(u.Key)
	same(t, "user namespaces", []identity.UserNSRecord{u, u}, append(us, u1))
	if err != nil {
		t.Error(err)
	}
}

// Whoever asks while a flush moves a record to the disk finds it.
func TestReadsDuringFlush(t *testing.T) {
	s := begin(t, Options{Path: path(t)})
	for pid := identity.HostPID(1); pid <= 100; pid++ {
		s.PutProcess(process(pid, 1, "c", identity.PID(pid)))
		done := make(chan error, 1)
		go func() { done <- s.flush(true) }()
		for moving := true; moving; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				moving = false
			default:
			}
			if len(processes(t, s, pid, 1)) != 1 || len(inner(t, s, []string{"c"}, 1, identity.PID(pid))) != 1 {
				t.Fatalf("pid %d is nowhere for a moment", pid)
			}
		}
	}
}

// copyOf is what a crash would leave of a file.
func copyOf(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	file = path(t)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	return file
}

// A writer that dies loses what it had not flushed and nothing else.
func TestCrash(t *testing.T) {
	file := path(t)
	s := begin(t, Options{Path: file})
	kept, lost := process(1, 1, "c", 1), process(2, 2, "c", 2)
	s.PutProcess(kept)
	s.PutContainer(container("c", "", 1, 2, false))
	flushed(t, s)
	s.PutProcess(lost)
	s.PutProcess(dead(kept, 9))
	s.PutUserNS(userNS(7, 1))

	s = begin(t, Options{Path: copyOf(t, file)})
	var got []identity.ProcessRecord
	if err := s.Each(func(r identity.ProcessRecord) { got = append(got, r) }); err != nil {
		t.Fatal(err)
	}
	same(t, "what was flushed", []identity.ProcessRecord{kept}, got)
	_, okC := s.Container("c")
	_, okU := s.UserNS(identity.NSKey{Inum: 7, Gen: 1})
	same(t, "container, user namespace", []bool{true, false}, []bool{okC, okU})
	same(t, "the last sign of life", Previous{Alive: at(1000), Boot: "boot-a"}, s.Previous())
	same(t, "nothing was set aside", Stats{}, s.Stats())

	// The next run ends the life it finds; what is told meanwhile is better.
	if err := s.Live(func(u Unfinished) {
		if !u.ThisBoot {
			t.Errorf("%+v is of this boot", u)
		}
		s.Finish(u, at(8))
		s.PutProcess(dead(kept, 7))
		s.Finish(u, at(9))
	}); err != nil {
		t.Fatal(err)
	}
	flushed(t, s)
	same(t, "finished", []identity.ProcessRecord{dead(kept, 7)}, processes(t, s, 1, 9))
	if err := s.Live(func(u Unfinished) { t.Errorf("still open: %+v", u) }); err != nil {
		t.Fatal(err)
	}
}

// TestIdle: an idle store leaves the disk alone between two signs of life.
func TestIdle(t *testing.T) {
	now := at(1000)
	o := Options{Path: path(t), Now: func() time.Time { return now }}
	s := begin(t, o)
	flushed(t, s)
	now = at(2000)
	if err := s.flush(false); err != nil { // idle, and just written
		t.Fatal(err)
	}
	s.mu.Lock()
	s.lastWrite = s.lastWrite.Add(-heartbeat)
	s.mu.Unlock()
	crashed := copyOf(t, o.Path)
	if got := begin(t, Options{Path: crashed}).Previous().Alive; !got.Equal(at(1000)) {
		t.Errorf("an idle flush wrote %s", got)
	}
	if err := s.flush(false); err != nil { // idle for long
		t.Fatal(err)
	}
	crashed = copyOf(t, o.Path)
	if got := begin(t, Options{Path: crashed}).Previous().Alive; !got.Equal(at(2000)) {
		t.Errorf("no sign of life for %s: %s", heartbeat, got)
	}
}
