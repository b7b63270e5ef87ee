package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func mustOpen(t testing.TB, dir string) *Ledger {
	t.Helper()
	l, err := Open(Options{Dir: dir, Now: clock()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func put(t *testing.T, dir string, l Lease, name string) {
	t.Helper()
	b := must[[]byte](t)(encode(l))
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "leases")
	l := mustOpen(t, dir)
	a := Range{65536, 65536}
	got := must[Lease](t)(l.Create(Lease{ID: "a", Range: a, Boot: "b", State: Done, Released: epoch}))
	if got.State != Intent || !got.Released.IsZero() || got.Created.IsZero() {
		t.Errorf("created %+v", got)
	}
	for _, to := range []State{Intent, Tombstone, "gone"} {
		if _, err := l.Advance("a", to, nil); !errors.Is(err, ErrState) {
			t.Errorf("intent to %s: %v", to, err)
		}
	}
	if _, err := l.Create(Lease{ID: "a"}); !errors.Is(err, ErrExists) {
		t.Errorf("same id: %v", err)
	}
	for _, r := range []Range{a, {131071, 1}, {1, 65536}, {1, 1 << 20}} {
		if _, err := l.Create(Lease{ID: "b", Range: r}); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), "lease a") {
			t.Errorf("%v: %v", r, err)
		}
	}
	must[Lease](t)(l.Create(Lease{ID: "none"}))
	must[Lease](t)(l.Create(Lease{ID: "none-2"}))
	must[Lease](t)(l.Create(Lease{ID: "next", Range: Range{131072, 65536}}))
	if _, err := l.Update("x", nil); !errors.Is(err, ErrNoLease) {
		t.Errorf("no such: %v", err)
	}
	for name, change := range map[string]func(*Lease){
		"id": func(n *Lease) { n.ID = "z" }, "state": func(n *Lease) { n.State = Tombstone },
		"range": func(n *Lease) { n.Range = Range{} }, "boot": func(n *Lease) { n.Boot = "z" },
		"created": func(n *Lease) { n.Created = epoch.Add(-1) }, "released": func(n *Lease) { n.Released = epoch },
	} {
		if _, err := l.Update("a", change); !errors.Is(err, errFixed) {
			t.Errorf("change of %s: %v", name, err)
		}
	}
	must[Lease](t)(l.Update("a", func(n *Lease) { n.Steps = append(n.Steps, "own:.") }))
	must[Lease](t)(l.Advance("a", Done, func(n *Lease) { n.UID, n.Cgroup, n.CgroupID = 65536, "/x", 5 }))
	got.Steps = append(got.Steps, "mine") // what was handed out is the caller's
	must[Lease](t)(l.Advance("a", Releasing, nil))
	end := must[Lease](t)(l.Advance("a", Tombstone, func(n *Lease) { n.Proof = "no process" }))
	if end.Released.IsZero() || end.Proof != "no process" || end.UID != 65536 {
		t.Errorf("tombstone %+v", end)
	}
	if _, err := l.Update("a", nil); !errors.Is(err, errDead) {
		t.Errorf("update of a tombstone: %v", err)
	}
	must[Lease](t)(l.Create(Lease{ID: "again", Range: a}))

	want := l.List()
	read, blocked, err := Read(dir) // beside the agent
	if err != nil || len(blocked) > 0 || !cmp.Equal(want, read) {
		t.Errorf("Read: %v %v %s", err, blocked, cmp.Diff(want, read))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Create(Lease{ID: "late"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := l.Prune(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if d := cmp.Diff(want, mustOpen(t, dir).List()); d != "" {
		t.Errorf("after a restart:\n%s", d)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir)
	_, err := Open(Options{Dir: dir})
	var held *HeldError
	if !errors.As(err, &held) || !strings.HasPrefix(held.Holder, fmt.Sprintf("pid %d since 2026-", os.Getpid())) {
		t.Fatalf("second open: %v", err)
	}
	// What cannot be the agent's text is not repeated.
	if err := os.WriteFile(held.Path, []byte("pid \x1b[2J"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); !errors.As(err, &held) || held.Holder != "" {
		t.Fatalf("second open: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	one := Range{65536, 65536}
	lease := func(id string, r Range, s State, age time.Duration) Lease {
		l := Lease{ID: id, Range: r, State: s, Created: epoch.Add(-age), Updated: epoch}
		if s == Tombstone {
			l.Released = epoch
		}
		return l
	}
	put(t, dir, lease("young", one, Done, 0), "young.json")
	put(t, dir, lease("old", Range{131071, 2}, Done, time.Hour), "old.json")
	put(t, dir, lease("dead", one, Tombstone, time.Hour), "dead.json")
	put(t, dir, lease("other", Range{262144, 65536}, Done, 0), "misnamed.json")
	put(t, dir, lease("caps", Range{327680, 65536}, Done, 0), "CAPS.json")
	whole := must[[]byte](t)(encode(lease("torn", Range{393216, 65536}, Done, 0)))
	for name, b := range map[string][]byte{
		"torn.json": whole[:len(whole)-20], "lost.json": whole[:30], "empty.json": nil, ".new": whole, "notes.txt": nil,
		"large.json": []byte(strings.Repeat(" ", maxFile+1)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "folder.json"), 0o700), os.Symlink("old.json", filepath.Join(dir, "link.json")),
		unix.Mkfifo(filepath.Join(dir, "pipe.json"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, asRead, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		File  string
		Range Range
		Known bool
	}
	rows := func(all []Blocked) map[string]row {
		m := map[string]row{}
		for _, b := range all {
			name := filepath.Base(b.File)
			m[strings.SplitN(name, ".", 2)[0]] = row{name, b.Range, b.Known}
		}
		return m
	}
	want := map[string]row{
		"young":    {"young.json.overlap", one, true},
		"misnamed": {"misnamed.json.name", Range{262144, 65536}, true},
		"CAPS":     {"CAPS.json.name", Range{327680, 65536}, true},
		"torn":     {"torn.json.torn", Range{393216, 65536}, true},
		"lost":     {"lost.json.torn", Range{}, false},
		"empty":    {"empty.json.torn", Range{}, false},
		"large":    {"large.json.too-large", Range{}, false},
		"folder":   {"folder.json.not-a-file", Range{}, false},
		"link":     {"link.json.not-a-file", Range{}, false},
		"pipe":     {"pipe.json.not-a-file", Range{}, false},
	}
	if len(asRead) != len(want) {
		t.Errorf("Read: %v", asRead)
	}
	l := mustOpen(t, dir)
	if d := cmp.Diff(want, rows(l.Blocked())); d != "" {
		t.Errorf("set aside (-want +got):\n%s", d)
	}
	if _, ok := l.Get("old"); !ok || len(l.List()) != 2 {
		t.Errorf("kept %v", l.List())
	}
	if _, err := os.Lstat(filepath.Join(dir, ".new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary file: %v", err)
	}
	if _, err := l.Create(Lease{ID: "n", Range: Range{1 << 20, 65536}}); !errors.Is(err, ErrUnknown) {
		t.Errorf("with an unknown range: %v", err)
	}
	must[Lease](t)(l.Create(Lease{ID: "n"})) // no range, no doubt
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	// The ranges stay taken over a restart, until a person removes the files.
	// A name that is in use there is not replaced.
	put(t, dir, lease("other", Range{262144, 65536}, Done, 0), "misnamed.json")
	for name, r := range want {
		if !r.Known {
			if err := os.RemoveAll(filepath.Join(dir, damagedDir, r.File)); err != nil {
				t.Fatal(err)
			}
			delete(want, name)
		}
	}
	l = mustOpen(t, dir)
	if len(l.Blocked()) != len(want)+1 {
		t.Errorf("after a restart: %v", l.Blocked())
	}
	if _, err := os.Lstat(filepath.Join(dir, damagedDir, "misnamed.json.name.2")); err != nil {
		t.Error(err)
	}
	for _, r := range want {
		if _, err := l.Create(Lease{ID: "m", Range: r.Range}); !errors.Is(err, ErrTaken) {
			t.Errorf("%v: %v", r, err)
		}
	}
	must[Lease](t)(l.Create(Lease{ID: "m", Range: Range{1 << 20, 65536}}))
}

// Faults while a ledger is opened: the next open finds everything.
func TestOpenFaults(t *testing.T) {
	build := func() *memDisk {
		d := newMemDisk()
		a := must[[]byte](t)(encode(Lease{ID: "a", Range: Range{65536, 65536}, State: Done, Created: epoch, Updated: epoch}))
		for name, data := range map[string][]byte{"a.json": a, "b.json": a, "c.json": a[:40], ".new": a} {
			f := &memFile{data: data, synced: data}
			d.seen["/l/"+name], d.kept["/l/"+name] = f, f
		}
		return d
	}
	d := build()
	if _, err := open(Options{Dir: "/l", Now: clock()}, d); err != nil {
		t.Fatal(err)
	}
	for n := range d.steps {
		for v := failsBefore; v <= stopsAfter; v++ {
			d := build()
			d.fault = func(step int, _ string) verb {
				if step == n+1 {
					return v
				}
				return works
			}
			func() {
				defer func() { survive(recover()) }()
				if _, err := open(Options{Dir: "/l", Now: clock()}, d); err == nil && d.names[n] != "read" {
					t.Errorf("step %d (%s), verb %d: no error", n+1, d.names[n], v)
				}
			}()
			l, err := open(Options{Dir: "/l", Now: clock()}, d.killed())
			if err != nil {
				t.Fatal(err)
			}
			if len(l.List()) != 1 || len(l.Blocked()) != 2 {
				t.Fatalf("step %d, verb %d: %v, %v", n+1, v, l.List(), l.Blocked())
			}
		}
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	l := must[*Ledger](t)(Open(Options{Dir: dir, Now: func() time.Time { return now }, MaxAge: time.Hour, MaxTombstones: 3}))
	defer l.Close()
	must[Lease](t)(l.Create(Lease{ID: "live"}))
	for i := range 6 {
		id := fmt.Sprintf("t%d", i)
		must[Lease](t)(l.Create(Lease{ID: id}))
		must[Lease](t)(l.Advance(id, Releasing, nil))
		must[Lease](t)(l.Advance(id, Tombstone, nil))
		now = now.Add(time.Minute)
	}
	left := func() (s string) {
		for _, l := range must[[]Lease](t)(func() ([]Lease, error) { a, _, err := Read(dir); return a, err }()) {
			s += l.ID + " "
		}
		return s
	}
	if n, err := l.Prune(); n != 3 || err != nil || left() != "live t3 t4 t5 " {
		t.Errorf("by number: %d %v, left %s", n, err, left())
	}
	now = epoch.Add(4*time.Minute + time.Hour)
	if n, err := l.Prune(); n != 1 || err != nil || left() != "live t4 t5 " {
		t.Errorf("by age: %d %v, left %s", n, err, left())
	}
	must[Lease](t)(l.Create(Lease{ID: "t0"})) // its tombstone is gone
}

func TestConcurrent(t *testing.T) {
	l := mustOpen(t, t.TempDir())
	var wg sync.WaitGroup
	won := make([]int, 8)
	for w := range won {
		wg.Go(func() {
			for i := range 12 {
				_, err := l.Create(Lease{ID: fmt.Sprintf("w%d-%d", w, i), Range: Range{uint32(i+1) << 16, 65536}})
				if err == nil {
					won[w]++
				} else if !errors.Is(err, ErrTaken) {
					t.Error(err)
				}
				l.List()
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range won {
		sum += n
	}
	if sum != 12 {
		t.Errorf("12 ranges were leased %d times", sum)
	}
}

// Read works beside an agent that makes leases and removes tombstones.
func TestReadBeside(t *testing.T) {
	dir := t.TempDir()
	l := must[*Ledger](t)(Open(Options{Dir: dir, Now: clock(), MaxAge: 1}))
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		var all error
		for i := range 100 {
			id := fmt.Sprint(i)
			_, a := l.Create(Lease{ID: id})
			_, b := l.Advance(id, Releasing, nil)
			_, c := l.Advance(id, Tombstone, nil)
			_, d := l.Prune()
			all = errors.Join(all, a, b, c, d)
		}
		done <- all
	}()
	for {
		if _, blocked, err := Read(dir); err != nil || len(blocked) > 0 {
			t.Fatal(blocked, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

// noSync is a disk without fsync, to tell what fsync costs.
type noSync struct{ osDisk }

func (noSync) SyncDir(string) error { return nil }
func (d noSync) Create(path string) (diskFile, error) {
	f, err := d.osDisk.Create(path)
	return noSyncFile{f}, err
}

type noSyncFile struct{ diskFile }

func (noSyncFile) Sync() error { return nil }

func BenchmarkWrite(b *testing.B) {
	for name, d := range map[string]disk{"fsync": osDisk{}, "nofsync": noSync{}} {
		b.Run(name, func(b *testing.B) {
			l := must[*Ledger](b)(open(Options{Dir: b.TempDir(), Now: clock()}, d))
			must[Lease](b)(l.Create(sample()))
			for b.Loop() {
				must[Lease](b)(l.Update(sample().ID, func(n *Lease) { n.CgroupID++ }))
			}
		})
	}
}

func BenchmarkReopen10000(b *testing.B) {
	dir := b.TempDir()
	l := must[*Ledger](b)(open(Options{Dir: dir, Now: clock()}, noSync{}))
	for i := range 10000 {
		n := sample()
		n.ID, n.Range = fmt.Sprintf("lease-%d", i), Range{uint32(i+1) << 16, 65536}
		must[Lease](b)(l.Create(n))
	}
	for b.Loop() {
		l := must[*Ledger](b)(open(Options{Dir: dir, Now: clock()}, osDisk{}))
		if len(l.leases) != 10000 {
			b.Fatal(len(l.leases))
		}
	}
}
