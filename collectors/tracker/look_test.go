package tracker

import (
	"errors"
	"testing"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Look tells what the kernel says now, whether or not the table knew.
func TestLook(t *testing.T) {
	k := newKernel(task(100, 1, 100), task(101, 100, 100))
	tr := follow(t, k, Options{})
	broken := errors.New("no memory")
	moved := task(101, 100, 200) // setns(2) tells nobody
	moved.Time++
	zombie := task(101, 100, 100)
	zombie.Zombie = true
	for _, tc := range []struct {
		name string
		pid  identity.HostPID
		do   func(*kernel)
		want string // the container's pid namespace told; "" is nobody
		err  error
		all  int // in the table afterwards
	}{
		{"known", 100, nil, "100", nil, 2},
		{"nobody", 102, nil, "", nil, 2},
		{"new", 103, func(k *kernel) { k.tasks = append(k.tasks, task(103, 100, 100)) }, "100", nil, 3},
		{"not nested", 1, func(k *kernel) { k.task[1] = func() (*bpf.Process, error) { return nil, nil } }, "", nil, 3},
		{"moved", 101, func(k *kernel) { k.tasks[1] = moved }, "200", nil, 3},
		{"unknown", 101, func(k *kernel) { k.task[101] = func() (*bpf.Process, error) { return nil, broken } }, "", broken, 3},
		{"begins to exit", 101, func(k *kernel) {
			k.task[101] = func() (*bpf.Process, error) { return zombie, nil }
		}, "200", nil, 3},
		{"zombie whose exit waits in the ring", 101, func(k *kernel) {
			k.task[101] = func() (*bpf.Process, error) { return zombie, nil }
			k.ring = append(k.ring, exit(101))
		}, "", nil, 2},
		{"dead, its exit in the ring", 103, func(k *kernel) {
			k.tasks, k.ring = k.tasks[:1], append(k.ring, exit(103))
		}, "", nil, 1},
	} {
		if tc.do != nil {
			k.do(tc.do)
		}
		got, calls := "", 0
		err := tr.Look(t.Context(), tc.pid, func(_ *identity.Table, p *identity.Process) {
			if calls++; p != nil {
				got = identity.NSKey{Inum: p.Container.PIDNS.Inum}.String()
			}
		})
		if tc.want != "" {
			tc.want += ".0"
		}
		if pids, _ := live(tr); got != tc.want || !errors.Is(err, tc.err) || (err == nil) != (calls == 1) || len(pids) != tc.all {
			t.Errorf("%s: %q after %d calls, %v; want %q, %v; in the table are %v", tc.name, got, calls, err, tc.want, tc.err, pids)
		}
	}
	check(t, "comparisons", uint64(1), tr.Stats().Reconciles)
}

// inUserNS puts a process of a pid namespace into a user namespace as well.
func inUserNS(p *bpf.Process, inum uint32, sum uint64) *bpf.Process {
	p.UserLevels = append(p.UserLevels, bpf.Level{UserNS: inum, OwnerUID: 1000})
	p.PIDLevels[1].PIDNSOwner = inum
	p.MapSum = sum
	return p
}

// Maps are read when the digest of a member says that they are not known, once
// for all members of a batch; a hint looks for such a digest.
func TestMaps(t *testing.T) {
	k, m := newKernel(inUserNS(task(100, 1, 100), 7, 0)), newMemory()
	tr := follow(t, k, Options{Memory: m})
	maps := func() (uids identity.UIDMap) {
		tr.View(func(table *identity.Table, _ map[string]int) {
			for _, u := range table.UserNamespaces() {
				uids = append(uids, u.UIDs...)
			}
		})
		return uids
	}
	k.do(func(k *kernel) { clear(k.asked) })
	check(t, "before they are written", identity.UIDMap(nil), maps())
	written := inUserNS(task(100, 1, 100), 7, 42)
	written.Time++
	k.do(func(k *kernel) {
		k.tasks = []*bpf.Process{written}
		k.userNS[100] = []*bpf.UserNS{{
			Time: written.Time, MapSum: 42, Inum: 7, Parent: hostUserNS, Level: 1, OwnerUID: 1000,
			UID: []bpf.Extent{{First: 0, Host: 200000, Count: 65536}},
		}}
	})
	k.tell(&bpf.Hint{UserNS: 7}, &bpf.Hint{UserNS: 8})
	syncNow(t, tr)
	want := identity.UIDMap{{First: 0, Host: 200000, Count: 65536}}
	check(t, "after", want, maps())
	check(t, "reads", map[uint32]int{100: 1}, k.asked)
	k.tell(inUserNS(fork(101, 100, 100), 7, 42), inUserNS(fork(102, 100, 100), 7, 42))
	syncNow(t, tr)
	check(t, "known maps are not read again", map[uint32]int{100: 1}, k.asked)
	m.mu.Lock()
	defer m.mu.Unlock()
	var told []identity.UIDMap
	for _, u := range m.ns {
		told = append(told, u.UIDs)
	}
	check(t, "told the memory", []identity.UIDMap{nil, want}, told)
}

// The number of a user namespace whose end lies in the ring is that of a new one,
// with another map, by the time somebody asks who is in it.
func TestLookAtNumberAgain(t *testing.T) {
	told := func(at, sum uint64, host uint32) *bpf.UserNS {
		u := &bpf.UserNS{Time: at, MapSum: sum, Inum: 7, Parent: hostUserNS, Level: 1, OwnerUID: 1000}
		if host != 0 {
			u.UID = []bpf.Extent{{First: 0, Host: host, Count: 1000}}
		}
		return u
	}
	k, m := newKernel(), newMemory()
	tr := follow(t, k, Options{Memory: m})
	k.tell(told(1e9, 0, 0), inUserNS(fork(100, 1, 100), 7, 0), told(1e9+1, 42, 5000), inUserNS(fork(101, 100, 100), 7, 42))
	syncNow(t, tr)
	born := inUserNS(fork(200, 1, 200), 7, 1)
	now := inUserNS(task(200, 1, 200), 7, 43)
	now.Time += 100
	k.do(func(k *kernel) {
		k.userNS[200] = []*bpf.UserNS{told(now.Time+1, 43, 300000)}
		k.task[200] = func() (*bpf.Process, error) {
			if born != nil { // by now, and not read yet: the lock is held
				k.ring = append(k.ring, exit(101), exit(100), told(born.Time-1, 1, 0), born)
				born = nil
			}
			return now, nil
		}
	})
	if err := tr.Look(t.Context(), 200, func(table *identity.Table, p *identity.Process) {
		check(t, "its map", identity.UIDMap{{First: 0, Host: 300000, Count: 1000}}, p.Container.UserNS.UIDs)
		if u := table.UserNamespaces(); len(u) != 1 || u[0] != p.Container.UserNS || p.Record(identity.Clock{}).UserNS != u[0].Key {
			t.Errorf("user namespaces %+v of %+v", u, p)
		}
	}); err != nil {
		t.Fatal(err)
	}
	check(t, "taken over", uint64(0), func() (n uint64) {
		tr.View(func(table *identity.Table, _ map[string]int) { n = table.Stats().Recycled })
		return n
	}())
}

// One that was born and died since the ring was last read is remembered by the
// time Look says that it is not there.
func TestLookAtShortLife(t *testing.T) {
	k, m := newKernel(), newMemory()
	tr := follow(t, k, Options{Memory: m})
	k.do(func(k *kernel) {
		k.task[100] = func() (*bpf.Process, error) {
			if k.ring == nil {
				k.ring = []any{fork(100, 1, 100), exit(100)}
			}
			return nil, bpf.ErrNoProcess
		}
	})
	if err := tr.Look(t.Context(), 100, func(_ *identity.Table, p *identity.Process) {
		if p != nil {
			t.Errorf("%+v", p)
		}
	}); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	check(t, "remembered", map[identity.HostPID]int{100: 1}, m.dead)
}
