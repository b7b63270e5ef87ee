package subid

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// model is the pool as one would write it on a napkin: slow, without any
// structure, each rule a loop.
type model struct {
	quarantine time.Duration
	owner      []string
	blocked    []bool
	freed      []time.Time // zero: never used
	freedBy    []string
	leases     map[string]modelLease
}

type modelLease struct {
	at, n     int
	releasing bool
	since     time.Time
}

func newModel(blocks int, quarantine time.Duration) *model {
	return &model{
		quarantine: quarantine, owner: make([]string, blocks), blocked: make([]bool, blocks),
		freed: make([]time.Time, blocks), freedBy: make([]string, blocks), leases: map[string]modelLease{},
	}
}

// pick tries all runs and compares their latest release.
func (m *model) pick(n int, taken []Range) (at int, latest time.Time, ok bool) {
	for i := 0; i+n <= len(m.owner); i++ {
		usable, last := true, time.Time{}
		for b := i; b < i+n; b++ {
			usable = usable && m.owner[b] == "" && !m.blocked[b]
			for _, r := range taken {
				usable = usable && !blocks(uint32(b), 1).Overlaps(r)
			}
			if m.freed[b].After(last) {
				last = m.freed[b]
			}
		}
		if usable && (!ok || last.Before(latest)) {
			at, latest, ok = i, last, true
		}
	}
	return at, latest, ok
}

func (m *model) lease(id string, n int, now time.Time, taken []Range) (Grant, bool) {
	at, latest, ok := m.pick(n, taken)
	if !ok {
		return Grant{}, false
	}
	g := Grant{Range: blocks(uint32(at), uint32(n))}
	if !latest.IsZero() {
		g.Rested = now.Sub(latest)
		g.Early = g.Rested < m.quarantine
	}
	for b := at; b < at+n; b++ {
		if !latest.IsZero() && m.freed[b].Equal(latest) {
			g.Previous = m.freedBy[b]
		}
		m.owner[b] = id
	}
	m.leases[id] = modelLease{at: at, n: n, since: now}
	return g, true
}

// A million random operations give what the model gives; and what must never
// happen is checked apart from the model, after each.
func TestModel(t *testing.T) {
	const nblocks, nids, ops = 20, 16, 1_000_000
	rnd := rand.New(rand.NewPCG(1, 2))
	quarantine := 12 * time.Second
	p, m := newPool(t, nblocks, quarantine), newModel(nblocks, quarantine)
	ids := make([]string, nids)
	for i := range ids {
		ids[i] = fmt.Sprintf("pod-%d", i)
	}
	now := t0
	var others []Range
	var taken *Taken
	var granted, early, dry, freed, refused, restarts int
	for op := range ops {
		now = now.Add(time.Duration(rnd.IntN(3)) * time.Second)
		if op%500 == 0 { // others come and go, also in the middle of leases
			others, taken = randomClaims(rnd, nblocks)
		}
		id := ids[rnd.IntN(nids)]
		ml, live := m.leases[id]
		switch k := rnd.IntN(1000); {
		case k < 450:
			n := 1 + rnd.IntN(3)
			g, err := p.Lease(id, uint32(n)*BlockSize-uint32(rnd.IntN(BlockSize)), now, taken)
			if live {
				var held *HeldError
				if again := n == ml.n && !ml.releasing; again != (err == nil && g.Held && g.Range == blocks(uint32(ml.at), uint32(n))) || again == errors.As(err, &held) {
					t.Fatalf("op %d: %s has %+v, got %+v, %v", op, id, ml, g, err)
				}
				break
			}
			want, ok := m.lease(id, n, now, others)
			var d *DryError
			if ok != (err == nil) || !ok && !errors.As(err, &d) || g != want {
				t.Fatalf("op %d: lease %d blocks for %s: %+v, %v; want %+v, %v", op, n, id, g, err, want, ok)
			}
			if ok {
				granted++
			} else {
				dry++
			}
			if g.Early {
				early++
			}
		case k < 650:
			if err := p.StartRelease(id, now); live == errors.Is(err, ErrUnknown) {
				t.Fatalf("op %d: start release of %s: %v", op, id, err)
			}
			if live && !ml.releasing {
				ml.releasing, ml.since = true, now
				m.leases[id] = ml
			}
		case k < 999:
			proof := Proof{Range: blocks(uint32(ml.at), uint32(ml.n)), Liveness: Liveness(rnd.IntN(5)), At: now.Add(-time.Duration(rnd.IntN(4)) * time.Second)}
			if rnd.IntN(2) == 0 {
				proof.Liveness = Released
			}
			if rnd.IntN(20) == 0 {
				proof.Range.Count -= BlockSize / 2
			}
			ok := live && ml.releasing && proof.Liveness == Released && proof.Range.Contains(blocks(uint32(ml.at), uint32(ml.n))) && !proof.At.Before(ml.since)
			if err := p.Release(id, now, proof); ok != (err == nil) {
				t.Fatalf("op %d: release of %s, %+v with %+v: %v", op, id, ml, proof, err)
			}
			if !ok {
				refused++
				break
			}
			freed++
			for b := ml.at; b < ml.at+ml.n; b++ {
				m.owner[b], m.freed[b], m.freedBy[b] = "", now, id
			}
			delete(m.leases, id)
		default:
			restarts++
			p = restart(t, rnd, p, m)
		}
		checkDisjoint(t, op, p, m)
	}
	t.Logf("%d granted (%d early), %d times dry, %d freed, %d refused, %d restarts", granted, early, dry, freed, refused, restarts)
	if granted < 10000 || early < 1000 || dry < 1000 || freed < 10000 || refused < 10000 || restarts < 100 {
		t.Error("the operations did not reach all of it")
	}
}

func randomClaims(rnd *rand.Rand, nblocks int) ([]Range, *Taken) {
	var ranges []Range
	var claims []Claim
	for range rnd.IntN(4) {
		r := Range{base - 3*BlockSize + uint32(rnd.IntN((nblocks+6)*BlockSize)), 1 + uint32(rnd.IntN(2*BlockSize))}
		ranges, claims = append(ranges, r), append(claims, Claim{r, "other"})
	}
	return ranges, NewTaken(claims)
}

// checkDisjoint looks at every live lease: no id has two, and the pool and the
// model have the same.
func checkDisjoint(t *testing.T, op int, p *Pool, m *model) {
	var seen [64]bool
	if len(p.leases) != len(m.leases) {
		t.Fatalf("op %d: %d leases, want %d", op, len(p.leases), len(m.leases))
	}
	for id, l := range p.leases {
		ml := m.leases[id]
		if l.r != blocks(uint32(ml.at), uint32(ml.n)) {
			t.Fatalf("op %d: %s has %v, want %+v", op, id, l.r, ml)
		}
		for b := (l.r.Start - base) / BlockSize; b < (l.r.Start-base+l.r.Count)/BlockSize; b++ {
			if seen[b] {
				t.Fatalf("op %d: block %d is leased twice", op, b)
			}
			seen[b] = true
		}
	}
}

// restart makes a new pool of what a ledger would have on record.
func restart(t *testing.T, rnd *rand.Rand, p *Pool, m *model) *Pool {
	records := p.Leases()
	for b := range m.owner {
		if !m.freed[b].IsZero() {
			records = append(records, Record{m.freedBy[b], blocks(uint32(b), 1), Tombstone, m.freed[b]})
		}
	}
	rnd.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	var unread []Blocked
	for b := range m.blocked {
		m.blocked[b] = m.owner[b] == "" && rnd.IntN(20) == 0
		if m.blocked[b] {
			unread = append(unread, Blocked{blocks(uint32(b), 1), "unreadable"})
		}
	}
	n := newPool(t, uint32(len(m.owner)), m.quarantine)
	if err := n.Restore(records, unread); err != nil {
		t.Fatal(err)
	}
	return n
}
