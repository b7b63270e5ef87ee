package ledger

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rig drives a ledger and knows what a caller of it may rely on.
type rig struct {
	disk *memDisk
	l    *Ledger
	// may has for each id what a start may find: what was acknowledged, and
	// after an error also what was tried. A nil lease is none.
	may map[string][]*Lease
}

// op is one call; it says what it tried.
type op struct {
	name string
	run  func(*Ledger) (Lease, error)
	id   string
	dead bool // Prune: the lease goes
}

func create(id string, r Range) op {
	return op{"create " + id, func(l *Ledger) (Lease, error) {
		return l.Create(Lease{ID: id, Range: r, Boot: "b"})
	}, id, false}
}

func advance(id string, to State) op {
	return op{fmt.Sprintf("%s to %s", id, to), func(l *Ledger) (Lease, error) {
		return l.Advance(id, to, func(n *Lease) { n.Proof = "because of " + string(to) })
	}, id, false}
}

func step(id string) op {
	return op{"step of " + id, func(l *Ledger) (Lease, error) {
		return l.Update(id, func(n *Lease) { n.Steps = append(n.Steps, "step") })
	}, id, false}
}

func prune(id string) op {
	return op{"prune", func(l *Ledger) (Lease, error) {
		_, err := l.Prune()
		return Lease{}, err
	}, id, true}
}

func start(d *memDisk) (*rig, error) {
	r := &rig{disk: d, may: map[string][]*Lease{}}
	l, err := open(Options{Dir: "/l", Now: clock(), MaxTombstones: 1, MaxAge: 1}, d)
	r.l = l
	return r, err
}

// do runs one call. It returns false when the machine stopped in it.
func (r *rig) do(t *testing.T, o op) (ran bool, err error) {
	t.Helper()
	if o.dead {
		return r.prune()
	}
	before, had := r.l.Get(o.id)
	defer func() {
		if survive(recover()) {
			r.tried(o, before, had)
		}
	}()
	got, err := o.run(r.l)
	now, has := r.l.Get(o.id)
	if err != nil {
		if has != had || has && !now.Equal(before) {
			t.Fatalf("%s failed with %v and changed memory: %s", o.name, err, cmp.Diff(before, now))
		}
		r.tried(o, before, had)
		return true, err
	}
	if !got.Equal(now) {
		t.Fatalf("%s returned what is not in memory: %s", o.name, cmp.Diff(got, now))
	}
	// It was written, so what failed before has been taken back.
	r.may[o.id] = nil
	for id := range r.may {
		r.may[id] = []*Lease{nil}
		if l, ok := r.l.Get(id); ok && l.Live() {
			r.may[id] = []*Lease{&l}
		} else if ok { // a crash may undo an unlink that failed
			r.may[id] = []*Lease{&l, nil}
		}
	}
	r.may[o.id] = []*Lease{&now}
	return true, nil
}

// prune may remove any tombstone, and a crash may bring it back.
func (r *rig) prune() (ran bool, err error) {
	for _, l := range r.l.List() {
		if !l.Live() {
			r.may[l.ID] = append(r.may[l.ID], nil)
		}
	}
	defer func() { survive(recover()) }()
	_, err = r.l.Prune()
	return true, err
}

// tried notes what a call that did not return success may have left on disk.
func (r *rig) tried(o op, before Lease, had bool) {
	l, err := open(Options{Dir: "/l", Now: clock()}, newMemDisk())
	if err != nil {
		panic(err)
	}
	if had {
		l.leases[o.id] = before
	}
	n, err := o.run(l)
	if err != nil {
		return // it was refused
	}
	if len(r.may[o.id]) == 0 {
		r.may[o.id] = []*Lease{nil}
	}
	r.may[o.id] = append(r.may[o.id], &n)
}

// alike compares but for the times, which the shadow's clock gave.
func alike(a, b *Lease) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := a.clone(), b.clone()
	x.Updated, x.Released, x.Created = y.Updated, y.Released, y.Created
	return x.Equal(y)
}

// check holds a freshly opened ledger against what the caller was told.
func (r *rig) check(t *testing.T, l *Ledger, d *memDisk, what string) {
	t.Helper()
	if b := l.Blocked(); len(b) > 0 {
		t.Fatalf("%s: a crash made a damaged file: %v", what, b)
	}
	for path := range d.seen {
		if path == "/l/"+tempName {
			t.Fatalf("%s: a temporary file was left", what)
		}
	}
	var live taken
	ids := map[string]bool{}
	for _, got := range l.List() {
		ids[got.ID] = true
		if !slices.ContainsFunc(r.may[got.ID], func(m *Lease) bool { return alike(m, &got) }) {
			t.Fatalf("%s: %s came back as %+v, expected one of %s", what, got.ID, got, show(r.may[got.ID]))
		}
		if got.Live() {
			if other, ok := live.find(got.Range); ok {
				t.Fatalf("%s: %s is leased to %s and %s", what, got.Range, other, got.ID)
			}
			live.add(got.Range, got.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.may)) {
		if !ids[id] && len(r.may[id]) > 0 && !slices.Contains(r.may[id], nil) {
			t.Fatalf("%s: %s is lost, expected one of %s", what, id, show(r.may[id]))
		}
	}
}

func show(all []*Lease) string {
	s := ""
	for _, l := range all {
		if l == nil {
			s += " none"
		} else {
			s += fmt.Sprintf(" %+v", *l)
		}
	}
	return s
}

// agree compares memory with what the disk shows.
func (r *rig) agree(t *testing.T, what string) {
	t.Helper()
	if len(r.l.redo) > 0 {
		return // it says so, and writes nothing else
	}
	keep := r.disk.fault
	r.disk.fault = nil
	f, err := scan(r.disk, "/l")
	r.disk.fault = keep
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(f.leases, byID)
	if d := cmp.Diff(r.l.List(), f.leases, cmp.FilterValues(func(a, b []Lease) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())); d != "" || len(f.bad) > 0 {
		t.Fatalf("%s: memory and disk differ (-memory +disk):\n%s", what, d)
	}
}

// life is a script with all kinds of calls; c takes the range that a had.
func life() []op {
	a, b := Range{65536, 65536}, Range{131072, 65536}
	return []op{
		create("a", a), step("a"), advance("a", Done), create("b", b), advance("b", Releasing),
		advance("a", Releasing), step("a"), advance("a", Tombstone), create("c", a), advance("c", Done),
		advance("b", Tombstone), prune("a"), create("a", b),
	}
}

// runLife runs the script under a fault and checks what every next start sees.
func runLife(t *testing.T, what string, fault func(int, string) verb, seeds int) {
	t.Helper()
	for seed := range seeds {
		r, err := start(newMemDisk())
		if err != nil {
			t.Fatal(err)
		}
		opened := r.disk.steps
		r.disk.fault = func(n int, op string) verb { return fault(n-opened, op) }
		stopped := false
		for _, o := range life() {
			steps := r.disk.steps
			done, err := r.do(t, o)
			if !done {
				stopped = true
				break
			}
			if err != nil && r.disk.steps == steps && !errors.Is(err, ErrNoLease) && !errors.Is(err, ErrState) && !errors.Is(err, ErrTaken) && !errors.Is(err, ErrExists) && !errors.Is(err, errDead) {
				t.Fatalf("%s: %s: %v", what, o.name, err)
			}
			r.agree(t, what+", "+o.name)
		}
		next := r.disk.killed()
		if seed > 0 {
			next = r.disk.crash(rand.New(rand.NewPCG(uint64(seed), 1)))
		} else if !stopped && len(r.l.redo) == 0 {
			r.agree(t, what)
		}
		again, err := start(next)
		if err != nil {
			t.Fatalf("%s: reopen: %v", what, err)
		}
		r.check(t, again.l, next, what)
	}
}

func TestEveryFaultPoint(t *testing.T) {
	r, err := start(newMemDisk())
	if err != nil {
		t.Fatal(err)
	}
	opened := r.disk.steps
	for _, o := range life() {
		if _, err := r.do(t, o); err != nil {
			t.Fatalf("%s: %v", o.name, err)
		}
	}
	names := r.disk.names[opened:]
	for n := range names {
		for v := failsBefore; v <= stopsAfter; v++ {
			what := fmt.Sprintf("%s, step %d, verb %d", names[n], n+1, v)
			runLife(t, what, func(step int, _ string) verb {
				if step == n+1 {
					return v
				}
				return works
			}, 8)
		}
	}
	// Two faults: the second may hit what makes good the first.
	pairs := 0
	for n := range names {
		for m := n + 1; m <= n+4; m++ {
			for _, v := range []verb{failsBefore, failsAfter} {
				for w := failsBefore; w <= stopsAfter; w++ {
					pairs++
					runLife(t, fmt.Sprintf("steps %d verb %d, %d verb %d", n+1, v, m+1, w), func(step int, _ string) verb {
						switch step {
						case n + 1:
							return v
						case m + 1:
							return w
						}
						return works
					}, 2)
				}
			}
		}
	}
	t.Logf("%d operations, 4 faults each, and %d pairs", len(names), pairs)
}

// A disk that has broken for good at any step, and comes back.
func TestDiskGoneAndBack(t *testing.T) {
	for n := 1; n < 90; n += 2 {
		for width := 1; width < 40; width += 6 {
			runLife(t, fmt.Sprintf("gone from %d for %d", n, width), func(step int, _ string) verb {
				if step >= n && step < n+width {
					return failsAfter
				}
				return works
			}, 2)
		}
	}
}

func TestRandomSequences(t *testing.T) {
	stops, fails := 0, 0
	for seed := range uint64(600) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		fault := func(_ int, _ string) verb {
			switch rnd.IntN(60) {
			case 0:
				return failsBefore
			case 1:
				return failsAfter
			case 2:
				return verb(int(stopsBefore) + rnd.IntN(2))
			}
			return works
		}
		r, err := start(newMemDisk())
		if err != nil {
			t.Fatal(err)
		}
		r.disk.fault = fault
		for n := range 60 {
			o := randomOp(rnd, r.l)
			ran, err := r.do(t, o)
			if err != nil {
				fails++
			}
			if ran {
				r.agree(t, fmt.Sprintf("seed %d, call %d, %s", seed, n, o.name))
			}
			if ran && rnd.IntN(20) != 0 {
				continue
			}
			stops++
			next := r.disk.killed()
			if rnd.IntN(2) == 0 {
				next = r.disk.crash(rnd)
			}
			again, err := start(next)
			if err != nil {
				t.Fatalf("seed %d, call %d: %v", seed, n, err)
			}
			r.check(t, again.l, next, fmt.Sprintf("seed %d, call %d, %s", seed, n, o.name))
			for _, l := range again.l.List() {
				again.may[l.ID] = []*Lease{&l}
			}
			r = again
			r.disk.fault = fault
		}
	}
	t.Logf("600 sequences, %d failed calls, %d restarts", fails, stops)
}

func randomOp(r *rand.Rand, l *Ledger) op {
	id := string(rune('a' + r.IntN(6)))
	switch r.IntN(8) {
	case 0, 1, 2:
		return create(id, Range{uint32(1+r.IntN(4)) << 16, 65536})
	case 3:
		return step(id)
	case 4:
		if old, ok := l.Get(id); ok && !old.Live() {
			return prune(id)
		}
		return step(id)
	default:
		return advance(id, []State{Done, Releasing, Tombstone}[r.IntN(3)])
	}
}
