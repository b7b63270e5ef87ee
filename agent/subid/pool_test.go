package subid

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const base = uint32(1073741824)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newPool(t testing.TB, blocks uint32, quarantine time.Duration) *Pool {
	t.Helper()
	p, err := New(Options{Range: Range{base, blocks * BlockSize}, Quarantine: quarantine})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// blocks is a range of n blocks, the first being number at of the test pool.
func blocks(at, n uint32) Range { return Range{base + at*BlockSize, n * BlockSize} }

func mustLease(t testing.TB, p *Pool, id string, size uint32, now time.Time) Grant {
	t.Helper()
	g, err := p.Lease(id, size, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func free(t testing.TB, p *Pool, id string, now time.Time) {
	t.Helper()
	r, _ := p.Lookup(id)
	if err := errors.Join(p.StartRelease(id, now), p.Release(id, now, Proof{Range: r.Range, Liveness: Released, At: now})); err != nil {
		t.Fatal(err)
	}
}

func TestNew(t *testing.T) {
	p, err := New(Options{})
	if err != nil || p.Range() != (Range{1073741824, 268435456}) || len(p.blocks) != 4096 || p.opts.Quarantine != 24*time.Hour {
		t.Errorf("default: %v, %v", p, err)
	}
	for r, want := range map[Range]string{
		{base + 1, BlockSize}: "multiples of 65536", {base, 1000}: "multiples of 65536", {0, BlockSize}: "the host's own ids",
		{4294901760, 65536}: "4294967295", {base, 0}: "has no ids", {4294901760, 2 * BlockSize}: "past the last id",
	} {
		if _, err := New(Options{Range: r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", r, err, want)
		}
	}
	if _, err := New(Options{Quarantine: -1}); err == nil {
		t.Error("negative quarantine")
	}
}

func TestLease(t *testing.T) {
	p := newPool(t, 8, time.Hour)
	for i, tc := range []struct {
		id   string
		size uint32
		want Range
	}{{"a", 65536, blocks(0, 1)}, {"b", 1, blocks(1, 1)}, {"c", 65537, blocks(2, 2)}, {"d", 196608, blocks(4, 3)}} {
		if g := mustLease(t, p, tc.id, tc.size, t0); g != (Grant{Range: tc.want}) {
			t.Errorf("%d: %+v, want %v", i, g, tc.want)
		}
	}
	if g := mustLease(t, p, "c", 100000, t0); g != (Grant{Range: blocks(2, 2), Held: true}) {
		t.Errorf("again: %+v", g)
	}
	var held *HeldError
	if _, err := p.Lease("c", 1, t0, nil); !errors.As(err, &held) || held.Holder.Range != blocks(2, 2) {
		t.Errorf("another size: %v", err)
	}
	if err := p.StartRelease("c", t0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Lease("c", 100000, t0, nil); !errors.As(err, &held) || held.Holder.State != Releasing {
		t.Errorf("while releasing: %v", err)
	}
	for id, want := range map[string]string{"": "id", "../x": "id", "a b": "id", "\x1b": `\x1b`, "-x": "id", strings.Repeat("x", 201): "…"} {
		if _, err := p.Lease(id, 1, t0, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	for _, size := range []uint32{0, 9 * BlockSize, 4294967295} {
		if _, err := p.Lease("x", size, t0, nil); err == nil {
			t.Errorf("leased %d ids", size)
		}
	}
}

// Never used, then rested, oldest first; in quarantine only when nothing else
// is left, oldest first as well, and told.
func TestOrder(t *testing.T) {
	p := newPool(t, 4, time.Hour)
	for i, id := range []string{"a", "b", "c"} {
		mustLease(t, p, id, 1, t0.Add(time.Duration(i)))
	}
	free(t, p, "b", t0.Add(1*time.Minute))
	free(t, p, "a", t0.Add(2*time.Minute))
	free(t, p, "c", t0.Add(90*time.Minute))
	now := t0.Add(91 * time.Minute)
	for i, want := range []Grant{
		{Range: blocks(3, 1)},
		{Range: blocks(1, 1), Rested: 90 * time.Minute, Previous: "b"},
		{Range: blocks(0, 1), Rested: 89 * time.Minute, Previous: "a"},
		{Range: blocks(2, 1), Rested: time.Minute, Early: true, Previous: "c"},
	} {
		if d := cmp.Diff(want, mustLease(t, p, fmt.Sprintf("n%d", i), 1, now)); d != "" {
			t.Errorf("lease %d: %s", i, d)
		}
	}
	// A wide run is as fresh as its freshest block.
	p = newPool(t, 4, time.Hour)
	for i, id := range []string{"a", "b", "c", "d"} {
		mustLease(t, p, id, 1, t0)
		free(t, p, id, t0.Add([]time.Duration{1, 50, 40, 45}[i]*time.Minute))
	}
	if g := mustLease(t, p, "w", 2*BlockSize, t0.Add(2*time.Hour)); g.Range != blocks(2, 2) || g.Previous != "d" || g.Early {
		t.Errorf("wide: %+v", g)
	}
}

func TestReleaseNeedsProof(t *testing.T) {
	p := newPool(t, 2, time.Hour)
	r := mustLease(t, p, "a", 1, t0).Range
	ok := Proof{Range: r, Liveness: Released, At: t0.Add(time.Second)}
	refused := func(why string, proof Proof, want string) {
		t.Helper()
		var nr *NotReleasedError
		err := p.Release("a", t0.Add(time.Minute), proof)
		if !errors.As(err, &nr) || nr.Holder.ID != "a" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", why, err, want)
		}
		if _, still := p.Lookup("a"); !still {
			t.Fatalf("%s: freed", why)
		}
	}
	refused("not started", ok, "not started")
	if err := p.StartRelease("a", t0.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	refused("zero", Proof{}, "indeterminate")
	for _, l := range []Liveness{Indeterminate, Alive, Unsupported, 77} {
		refused(l.String(), Proof{Range: r, Liveness: l, At: ok.At, Evidence: []Evidence{{l, "process 7"}}}, l.String()+": process 7")
	}
	refused("other range", Proof{Range: blocks(1, 1), Liveness: Released, At: ok.At}, "is for "+blocks(1, 1).String())
	refused("old", Proof{Range: r, Liveness: Released, At: t0}, "older")
	if err := p.Release("a", t0.Add(time.Minute), ok); err != nil {
		t.Error(err)
	}
	if err := p.Release("a", t0, ok); !errors.Is(err, ErrUnknown) {
		t.Errorf("twice: %v", err)
	}
	if err := p.StartRelease("b", t0); !errors.Is(err, ErrUnknown) {
		t.Errorf("start unknown: %v", err)
	}
	if who, known := p.Owner(r.Start + 5); !known || who.ID != "a" || who.State != Tombstone || !who.Since.Equal(t0.Add(time.Minute)) {
		t.Errorf("tombstone: %+v, %v", who, known)
	}
}

func TestProofAdd(t *testing.T) {
	p := Proof{Liveness: Released}
	for _, step := range []struct{ add, want Liveness }{
		{Released, Released}, {Indeterminate, Indeterminate}, {Unsupported, Unsupported}, {Indeterminate, Unsupported}, {Alive, Alive}, {Unsupported, Alive},
	} {
		if p.Add(Evidence{step.add, step.add.String()}); p.Liveness != step.want {
			t.Errorf("add %v: %v", step.add, p.Liveness)
		}
	}
	for range 100 {
		p.Add(Evidence{Indeterminate, "x"})
	}
	if len(p.Evidence) != maxEvidence || p.More != 105-maxEvidence || p.Evidence[0].Answer != Alive {
		t.Errorf("%d kept, %d more: %v", len(p.Evidence), p.More, p.Evidence[0])
	}
}

func TestTaken(t *testing.T) {
	p := newPool(t, 6, time.Hour)
	taken := NewTaken([]Claim{
		{Range{base + 2*BlockSize - 1, 2}, "two blocks by two ids"}, {Range{0, 1000}, "system"}, {Range{base + BlockSize, 10}, "hidden by nothing"},
		{Range{4294967295, 1}, "last"}, {Range{7, 0}, "empty"},
	})
	if c, ok := taken.By(base + BlockSize + 5000); !ok || c.Source != "hidden by nothing" {
		t.Errorf("%v, %v", c, ok)
	}
	if c, ok := taken.By(4294901760); !ok || c.Source != "last" {
		t.Errorf("%v, %v", c, ok)
	}
	if c, ok := taken.By(base); ok {
		t.Errorf("%v", c)
	}
	want := []Range{blocks(0, 1), blocks(3, 1), blocks(4, 1), blocks(5, 1)}
	for i, w := range want {
		if g, err := p.Lease(fmt.Sprintf("l%d", i), 1, t0, taken); err != nil || g.Range != w {
			t.Errorf("lease %d: %v, %v", i, g, err)
		}
	}
	if d := cmp.Diff([]Holder{
		{Who: "hidden by nothing", State: "taken", Range: blocks(1, 1)}, {Who: "two blocks by two ids", State: "taken", Range: blocks(2, 1)},
	}, p.Obstacles(taken)); d != "" {
		t.Error(d)
	}
	var dry *DryError
	_, err := p.Lease("x", 1, t0.Add(time.Hour), taken)
	if !errors.As(err, &dry) {
		t.Fatal(err)
	}
	if dry.Counts != (Counts{Leased: 4, Taken: 2}) || len(dry.Holders) != 6 {
		t.Errorf("%+v", dry)
	}
	for _, s := range []string{"no run of 1 blocks", "4 are leased", "l0 since 2026-03-01T12:00:00Z", "two blocks by two ids", "widen"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q lacks %q", err, s)
		}
	}
	// A lease is not taken by its own user namespace.
	if g, err := p.Lease("l0", 1, t0, NewTaken([]Claim{{blocks(0, 1), "live namespace"}})); err != nil || !g.Held {
		t.Errorf("%v, %v", g, err)
	}
}

func TestDryIsBounded(t *testing.T) {
	p := newPool(t, 100, time.Hour)
	for i := range 100 {
		mustLease(t, p, fmt.Sprintf("l%02d", 99-i), 1, t0.Add(-time.Duration(i)*time.Second))
	}
	var dry *DryError
	if _, err := p.Lease("x", 1, t0, nil); !errors.As(err, &dry) || len(dry.Holders) != maxDryLeases {
		t.Fatal(err)
	}
	for i, h := range dry.Holders { // oldest first
		if want := fmt.Sprintf("l%02d", i); h.Who != want {
			t.Errorf("holder %d is %s, want %s", i, h.Who, want)
		}
	}
}

func TestRestore(t *testing.T) {
	p := newPool(t, 8, time.Hour)
	err := p.Restore([]Record{
		{"old", blocks(0, 1), Tombstone, t0.Add(-3 * time.Hour)},
		{"older", blocks(0, 2), Tombstone, t0.Add(-4 * time.Hour)},
		{"live", blocks(2, 1), Leased, t0},
		{"dying", blocks(3, 1), Releasing, t0},
		{"moved", Range{700000000, 65536}, Leased, t0}, // the pool's range was changed, and was not aligned
		{"odd", Range{base + 4*BlockSize + 1, 65536}, Leased, t0},
	}, []Blocked{{blocks(6, 1), "lease.json: line 1: no JSON"}})
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Counts(t0, nil); c != (Counts{Leased: 3, Releasing: 1, Blocked: 1, Rested: 2, Unused: 1}) {
		t.Errorf("%+v", c)
	}
	if g := mustLease(t, p, "live", 1, t0); !g.Held || g.Range != blocks(2, 1) {
		t.Errorf("%+v", g)
	}
	if r, ok := p.Lookup("moved"); !ok || r.Range.Start != 700000000 {
		t.Errorf("%+v", r)
	}
	for i, want := range []Grant{{Range: blocks(7, 1)}, {Range: blocks(1, 1), Rested: 4 * time.Hour, Previous: "older"}, {Range: blocks(0, 1), Rested: 3 * time.Hour, Previous: "old"}} {
		if g := mustLease(t, p, fmt.Sprintf("n%d", i), 1, t0); g != want {
			t.Errorf("%+v, want %+v", g, want)
		}
	}
	_, err = p.Lease("x", 1, t0, nil)
	if err == nil || !strings.Contains(err.Error(), "lease.json") {
		t.Error(err)
	}
	free(t, p, "moved", t0)
	free(t, p, "odd", t0)
	if g := mustLease(t, p, "w", 2*BlockSize, t0); g.Range != blocks(4, 2) {
		t.Errorf("%+v", g)
	}
}

// What cannot be right on record stays taken.
func TestRestoreDoubtful(t *testing.T) {
	for name, tc := range map[string]struct {
		records []Record
		want    string
		counts  Counts
	}{
		"two of one block":   {[]Record{{"a", blocks(0, 2), Leased, t0}, {"b", blocks(1, 2), Releasing, t0}}, "overlaps", Counts{Blocked: 1, Leased: 1, Releasing: 1, Unused: 1}},
		"one id twice":       {[]Record{{"a", blocks(0, 1), Leased, t0}, {"a", blocks(1, 1), Leased, t0}}, "as well", Counts{Blocked: 1, Leased: 1, Unused: 2}},
		"unknown state":      {[]Record{{"a", blocks(0, 1), "lea\x1bsed", t0}}, `"lea\x1bsed"`, Counts{Blocked: 1, Unused: 3}},
		"hostile id":         {[]Record{{"../a", blocks(0, 1), Leased, t0}}, "id", Counts{Blocked: 1, Unused: 3}},
		"past the last id":   {[]Record{{"a", Range{base, 4294967295}, Leased, t0}}, "past", Counts{Blocked: 4}},
		"no ids":             {[]Record{{"a", Range{base, 0}, Leased, t0}}, "no ids", Counts{Unused: 4}},
		"tombstone, no name": {[]Record{{"", blocks(0, 1), Tombstone, t0}}, "id", Counts{Blocked: 1, Unused: 3}},
	} {
		p := newPool(t, 4, time.Hour)
		if err := p.Restore(tc.records, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if c := p.Counts(t0, nil); c != tc.counts {
			t.Errorf("%s: %+v", name, c)
		}
	}
	// A contested block is not free when one of the two is released.
	p := newPool(t, 2, time.Hour)
	if err := p.Restore([]Record{{"a", blocks(0, 1), Leased, t0}, {"b", blocks(0, 1), Leased, t0}}, nil); err == nil {
		t.Fatal("no error")
	}
	free(t, p, "a", t0)
	if c := p.Counts(t0, nil); c != (Counts{Blocked: 1, Unused: 1}) {
		t.Errorf("%+v", c)
	}
	free(t, p, "b", t0)
}

// A clock that steps keeps everything leasable, and nothing is out of quarantine early.
func TestClockSteps(t *testing.T) {
	p := newPool(t, 1, time.Hour)
	for _, at := range []time.Time{t0, t0.AddDate(300, 0, 0), {}, t0, t0.AddDate(-100, 0, 0)} {
		g := mustLease(t, p, "a", 1, at)
		if g.Range != blocks(0, 1) {
			t.Errorf("%v: %+v", at, g)
		}
		free(t, p, "a", at)
		if g := mustLease(t, p, "b", 1, at.Add(-time.Minute)); !g.Early {
			t.Errorf("%v: %+v", at, g)
		}
		free(t, p, "b", at)
	}
}
