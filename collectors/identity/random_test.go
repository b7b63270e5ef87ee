package identity

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

// deliver hands the queue to the table, in disorder: some records are lost,
// some come twice, some late, some again much later.
func (k *kernel) deliver(table *Table, old *[]any, disorder bool) {
	if disorder {
		for i := 1; i < len(k.queue); i++ {
			if k.IntN(4) == 0 {
				j := max(0, i-k.IntN(4))
				k.queue[i], k.queue[j] = k.queue[j], k.queue[i]
			}
		}
	}
	for _, r := range k.queue {
		if disorder && k.IntN(10) == 0 {
			continue
		}
		table.Apply(r)
		if k.IntN(5) == 0 {
			table.Apply(r)
		}
		if *old = append(*old, r); disorder && k.IntN(10) == 0 {
			table.Apply((*old)[k.IntN(len(*old))])
		}
	}
	k.queue = nil
}

func (k *kernel) reconcile(table *Table) {
	sure := k.IntN(2) == 0
	for round := 0; round == 0 || round == 1 && !sure; round++ {
		k.now++
		var snapshot []*bpf.Process
		for pid := range k.procs {
			snapshot = append(snapshot, k.record(bpf.KindTask, pid))
		}
		table.Reconcile(snapshot, k.now, nil, func(p *Process) Liveness {
			if q := k.procs[uint32(p.Key.PID)]; q != nil && q.start == p.Key.Start {
				return Alive
			}
			return Dead
		}, sure)
	}
}

// After a snapshot that is sure, or two, the table equals the kernel, whatever it was told; and
// when all are dead, nothing is left.
func TestRandom(t *testing.T) {
	for seed := range uint64(150) {
		k := &kernel{Rand: rand.New(rand.NewPCG(seed, 1)), now: 1000, ids: seed%2 == 0, procs: map[uint32]*proc{}}
		table := NewTable(Options{CgroupPath: func(id uint64) string { return []string{"", "", "/a", "/a/b", "/c"}[id%5] }})
		var old []any
		var gone, born int
		for range 30 {
			for range 1 + k.IntN(12) {
				k.step()
			}
			k.deliver(table, &old, seed%3 > 0)
			audit(t, table)
			if k.IntN(3) == 0 {
				k.reconcile(table)
				audit(t, table)
				if d := cmp.Diff(k.entries(), entries(table)); d != "" {
					t.Errorf("seed %d (-kernel +table):\n%s", seed, d)
				}
			}
			c := table.TakeChanges()
			born, gone = born+len(c.Containers), gone+len(c.Gone)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		for _, pid := range slices.Sorted(maps.Keys(k.procs)) {
			k.exit(pid)
		}
		k.deliver(table, &old, false)
		k.now += sweepAfter + 1
		k.reconcile(table)
		k.now += sweepAfter + 1
		k.reconcile(table)
		empty(t, table)
		c := table.TakeChanges()
		if born, gone = born+len(c.Containers), gone+len(c.Gone); born != gone {
			t.Errorf("%d containers came, %d went", born, gone)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// In order, and with nothing lost, no snapshot is needed: the table follows
// each record.
func TestRandomInOrder(t *testing.T) {
	for seed := range uint64(60) {
		k := &kernel{Rand: rand.New(rand.NewPCG(seed, 2)), now: 1000, ids: seed%2 == 0, procs: map[uint32]*proc{}}
		table := NewTable(Options{})
		var old []any
		peak := map[string]int{}
		for range 200 {
			before := map[uint32]space{}
			for pid, p := range k.procs {
				before[pid] = p.space
			}
			k.step()
			for pid, p := range k.procs {
				s, ok := before[pid]
				if ok && (s.cgroup != p.cgroup || !slices.Equal(s.pid, p.pid) || !slices.Equal(s.user, p.user)) {
					k.queue = append(k.queue, k.record(bpf.KindTask, pid)) // asked for
				}
			}
			k.deliver(table, &old, false)
			for _, c := range table.Containers() {
				if peak[c.ID] = max(peak[c.ID], c.Live); c.Peak != peak[c.ID] {
					t.Errorf("peak of %s is %d, want %d", inums(c), c.Peak, peak[c.ID])
				}
			}
			if d := cmp.Diff(k.entries(), entries(table)); d != "" || table.Stats() != (TableStats{}) {
				t.Errorf("%+v (-kernel +table):\n%s", table.Stats(), d)
			}
			if audit(t, table); t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}
