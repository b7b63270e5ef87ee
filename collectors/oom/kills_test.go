package oom

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

const pod = "/kube/pod1"

// The pod's cgroup, a sandbox's in it, a container's in that, and a cgroup of
// the sandbox's own making; by id, as the kernel knows them.
var paths = map[uint64]string{1: "/kube", 2: pod, 3: pod + "/web", 4: pod + "/web/db", 5: pod + "/web/jobs/x", 6: "/system/cron", 7: pod + "/web/jobs"}

// memory keeps the last record of each kill.
type memory struct{ all []identity.OOMRecord }

func (m *memory) PutOOM(r identity.OOMRecord) {
	if n := len(m.all); n > 0 && m.all[n-1].Time.Equal(r.Time) && m.all[n-1].Victims[0].PID == r.Victims[0].PID {
		m.all = m.all[:n-1]
	}
	m.all = append(m.all, r)
}

// process adds a process to the table, in a chain of pid namespaces; the first
// of each namespace has its number.
func process(t *identity.Table, pid uint32, cgroup uint64, chain ...uint32) {
	r := &bpf.Process{
		Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, UID: 1000, Threads: 1, Comm: "born", Cgroup: cgroup,
		PIDLevels: []bpf.Level{{PID: pid, PIDNS: 1}}, UserLevels: []bpf.Level{{UserNS: 2}},
	}
	for i, ns := range chain {
		r.PIDLevels = append(r.PIDLevels, bpf.Level{PID: uint32(i + 1), PIDNS: ns, PIDNSStart: uint64(ns), PIDNSOwner: 2})
	}
	t.Apply(r)
}

// world has a sandbox, web, with a container, db, and another in a cgroup that
// the sandbox made.
func world() *identity.Table {
	t := identity.NewTable(identity.Options{Boot: "b", CgroupPath: func(id uint64) string { return paths[id] }})
	process(t, 30, 3, 30)
	process(t, 40, 4, 30, 40)
	process(t, 41, 4, 30, 40)
	process(t, 50, 5, 30, 50)
	return t
}

func cgroup(id uint64, level int, usage, limit, ooms uint64) bpf.Memcg {
	return bpf.Memcg{Cgroup: id, Level: level, Read: true, Usage: usage << 20, Max: limit << 20, OOMs: ooms}
}

func unlimited(id uint64, level int, usage, ooms uint64) bpf.Memcg {
	m := cgroup(id, level, usage, 0, ooms)
	m.Max = math.MaxUint64
	return m
}

func victim(pid uint32, at uint64, cgroup uint64, memcgs ...bpf.Memcg) *bpf.Victim {
	return &bpf.Victim{Time: at, Start: uint64(pid), PID: pid, By: 7, Cgroup: cgroup, Comm: "tail\x1b\xff", Anon: 4096, File: 1, Shmem: 2, Swap: 3, ScoreAdj: -5, Memcgs: memcgs}
}

// told has the kernel say whose limit it is.
func told(v *bpf.Victim, kill uint64, limit bpf.Memcg) *bpf.Victim {
	v.Kill, v.Limit = kill, limit
	return v
}

func grouped(m bpf.Memcg) bpf.Memcg { m.Group = true; return m }
func old(m bpf.Memcg) bpf.Memcg     { m.V1 = true; return m }
func unread(m bpf.Memcg) bpf.Memcg {
	return bpf.Memcg{Cgroup: m.Cgroup, Level: m.Level}
}

func number(n uint64) *uint64 { return &n }

func newKills() (*Kills, *memory) {
	m := &memory{}
	return New(Options{Memory: m, Path: func(id uint64) string { return paths[id] }, Pod: func(path string) bool { return path == pod }}), m
}

// Those who die together are one kill, whether the kernel tells that or not;
// those who do not are two.
func TestTogether(t *testing.T) {
	db, web := grouped(cgroup(4, 4, 32, 32, 1)), cgroup(3, 3, 40, 100, 0)
	again := db
	again.OOMs++
	lone := db
	lone.Group = false
	for name, tc := range map[string]struct {
		first, second *bpf.Victim
		kills         int
		group         string
	}{
		"told":                    {told(victim(41, 100, 4, db, web), 9, db), told(victim(40, 101, 4, db, web), 9, db), 1, paths[4]},
		"told: another":           {told(victim(41, 100, 4, db, web), 9, db), told(victim(40, 101, 4, db, web), 10, db), 2, ""},
		"told: the sandbox's":     {told(victim(41, 100, 4, lone, grouped(web)), 9, web), told(victim(40, 101, 4, lone, grouped(web)), 9, web), 1, paths[3]},
		"inferred":                {victim(41, 100, 4, db, web), victim(40, 101, 4, db, web), 1, paths[4]},
		"inferred: counted again": {victim(41, 100, 4, db, web), victim(40, 101, 4, again, web), 2, ""},
		"inferred: no group":      {victim(41, 100, 4, lone, web), victim(40, 101, 4, lone, web), 2, ""},
		"inferred: much later":    {victim(41, 100, 4, db, web), victim(40, 100+uint64(11*time.Second), 4, db, web), 2, ""},
		"twice the same":          {victim(41, 100, 4, db, web), victim(41, 101, 4, db, web), 1, ""},
	} {
		k, m := newKills()
		table := world()
		k.Victim(table, tc.first)
		k.Victim(table, tc.second)
		got := m.all[0]
		if len(m.all) != tc.kills || got.Group != tc.group {
			t.Errorf("%s: %d kills, group %q", name, len(m.all), got.Group)
		}
		if want := 1 + map[bool]int{true: 1}[tc.kills == 1 && tc.first.PID != tc.second.PID]; len(got.Victims) != want {
			t.Errorf("%s: %d victims, want %d", name, len(got.Victims), want)
		}
	}
}

// A victim is who the table says, with the memory and the name that the kernel
// says; it is bounded how many are kept.
func TestVictims(t *testing.T) {
	k, m := newKills()
	table := world()
	k.Victim(table, told(victim(41, 100, 4), 9, bpf.Memcg{}))
	for pid := uint32(1000); pid < 1000+identity.MaxOOMVictims+4; pid++ {
		v := told(victim(pid, 200, 6), 9, bpf.Memcg{})
		k.Victim(table, v)
		k.Victim(table, v) // twice is once
	}
	got := m.all[0]
	if len(m.all) != 1 || len(got.Victims) != identity.MaxOOMVictims || got.More != 5 || got.By != 7 {
		t.Errorf("%d kills, %d victims and %d more, by %d", len(m.all), len(got.Victims), got.More, got.By)
	}
	at := func(ns int64) time.Time { return time.Time{}.Add(time.Duration(ns)).UTC() }
	want := identity.OOMVictim{
		PID: 41, Start: 41, StartTime: at(41), Time: at(100), UID: 1000, Comm: "tail\x1b\\xff", Container: table.Process(41).Container.ID,
		PIDs: []identity.PID{1, 2}, Cgroup: paths[4], Memory: identity.OOMMemory{Anon: 4096, File: 1, Shmem: 2, Swap: 3}, ScoreAdj: -5,
	}
	if d := cmp.Diff(want, got.Victims[0]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if v := got.Victims[1]; v.Container != "" || v.Cgroup != paths[6] || v.PID != 1000 {
		t.Errorf("a process of the host: %+v", v)
	}
	reused := told(victim(41, 300, 4), 11, bpf.Memcg{})
	reused.Start = 299
	k.Victim(table, reused)
	if v := m.all[1].Victims[0]; v.Container != "" {
		t.Errorf("another process of the pid: %+v", v)
	}
}

// A death that was not told when it was decided is a kill all the same.
func TestExit(t *testing.T) {
	k, m := newKills()
	table := world()
	k.Exit(table, &bpf.Exit{Time: 90, Start: 40, PID: 40})
	k.Victim(table, told(victim(41, 100, 4), 9, bpf.Memcg{}))
	k.Exit(table, &bpf.Exit{Time: 110, Start: 41, PID: 41, OOM: true})
	if len(m.all) != 1 {
		t.Fatalf("%d kills of one", len(m.all))
	}
	k.Exit(table, &bpf.Exit{Time: 120, Start: 40, PID: 40, OOM: true})
	got := m.all[1]
	if len(m.all) != 2 || got.Limit != (identity.OOMLimit{Scope: identity.OOMUnknown}) || got.Victims[0].Comm != "born" || got.Victims[0].Container == "" {
		t.Errorf("%+v", got)
	}
	if n := testutil.ToFloat64(k.counts.WithLabelValues("unknown", "")); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// What is kept stays bounded, whatever is killed.
func TestBounds(t *testing.T) {
	k, _ := newKills()
	table := world()
	for i := range uint64(3 * maxCounted) {
		k.Victim(table, victim(uint32(i+1), i, 4, cgroup(100+i, 4, 32, 32, 1)))
	}
	if len(k.ooms) != maxCounted || len(k.recent) != maxRecent {
		t.Errorf("%d counts, %d kills", len(k.ooms), len(k.recent))
	}
}
