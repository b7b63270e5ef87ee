// Package oom puts together what the kernel tells of OOM kills: who was killed,
// who beside it, and at whose limit.
//
// What enters: victims and exits, in the order of the kernel, and the identity
// table as it is at that moment. What leaves: a record per kill for the history,
// and counts for Prometheus. It touches nothing but what Options.Path looks up.
package oom

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Memory remembers kills. Calls must not block on a disk.
type Memory interface {
	PutOOM(identity.OOMRecord)
}

// Options of Kills.
type Options struct {
	Memory Memory
	Clock  identity.Clock
	Path   func(cgroup uint64) string // of a cgroup that exists; may be nil
	Pod    func(path string) bool     // is it a pod's own cgroup? may be nil
}

// Kills follows OOM kills. Safe for concurrent use.
type Kills struct {
	o      Options
	mu     sync.Mutex
	recent []*kill           // the oldest first
	ooms   map[uint64]uint64 // by memory cgroup: its count of OOMs as last seen
	counts *prometheus.CounterVec
}

// kill is one that may have more victims to come.
type kill struct {
	record identity.OOMRecord
	id     uint64 // the kernel's; 0: not told
	limit  uint64 // cgroup; 0: none, or not known
	ooms   uint64 // count of that cgroup
	last   uint64 // time of the last victim, ns since boot
	seen   map[identity.ProcessKey]bool
}

const (
	// maxRecent bounds the kills that a victim may still belong to: the kernel
	// is at one kill at a time.
	maxRecent = 16
	// maxCounted bounds the cgroups whose counts are kept.
	maxCounted = 4096
	// together is how long after a victim another may belong to the same kill,
	// where the kernel does not tell.
	together = uint64(10 * time.Second)
)

// New returns Kills.
func New(o Options) *Kills {
	return &Kills{
		o: o, ooms: map[uint64]uint64{},
		counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eyas_oom_kills_total",
			Help: "OOM kills on the node, each of one process or more, by whose limit: container, inside (a cgroup made in a container), pod, cgroup (another), v1, node, unknown; and by how that is known: told, inferred.",
		}, []string{"limit", "source"}),
	}
}

// Describe implements prometheus.Collector.
func (k *Kills) Describe(ch chan<- *prometheus.Desc) { k.counts.Describe(ch) }

// Collect implements prometheus.Collector.
func (k *Kills) Collect(ch chan<- prometheus.Metric) { k.counts.Collect(ch) }

// Victim takes note of a process that is about to be killed.
func (k *Kills) Victim(t *identity.Table, v *bpf.Victim) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.describe(t, v)
	x := k.find(v)
	if x == nil {
		x = k.begin(t, v)
	} else if m := group(v, x.limit); m != nil && x.record.Group == "" && !x.seen[identity.ProcessKey{PID: now.PID, Start: now.Start}] {
		x.record.Group = identity.Valid(k.path(t, v, m))
	}
	k.add(x, now, v.Time)
}

// Exit takes note of a process that died of the OOM killer, if it was not told
// when it was chosen: whose limit it was is then not known.
func (k *Kills) Exit(t *identity.Table, e *bpf.Exit) {
	if !e.OOM {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key := identity.ProcessKey{PID: identity.HostPID(e.PID), Start: e.Start}
	for _, x := range k.recent {
		if x.seen[key] {
			return
		}
	}
	v := identity.OOMVictim{PID: key.PID, Start: key.Start, StartTime: k.o.Clock.At(key.Start), Time: k.o.Clock.At(e.Time)}
	k.fill(t, &v)
	x := k.push(&kill{record: identity.OOMRecord{Time: v.Time, Limit: identity.OOMLimit{Scope: identity.OOMUnknown}}})
	k.add(x, v, e.Time)
}

func (k *Kills) describe(t *identity.Table, v *bpf.Victim) identity.OOMVictim {
	out := identity.OOMVictim{
		PID: identity.HostPID(v.PID), Start: v.Start, StartTime: k.o.Clock.At(v.Start), Time: k.o.Clock.At(v.Time),
		Comm: identity.Valid(v.Comm), ScoreAdj: v.ScoreAdj,
		Memory: identity.OOMMemory{Anon: v.Anon, File: v.File, Shmem: v.Shmem, Swap: v.Swap},
	}
	k.fill(t, &out)
	if out.Cgroup == "" && k.o.Path != nil {
		out.Cgroup = identity.Valid(k.o.Path(v.Cgroup))
	}
	return out
}

// fill adds what the table knows.
func (k *Kills) fill(t *identity.Table, v *identity.OOMVictim) {
	p := t.Process(v.PID)
	if p == nil || p.Key.Start != v.Start {
		return
	}
	r := p.Record(k.o.Clock)
	v.UID, v.GID, v.UserNS, v.Container, v.PIDs, v.Cgroup = r.UID, r.GID, r.UserNS, r.Container, r.PIDs, r.Cgroup
	if v.Comm == "" {
		v.Comm = r.Comm
	}
}

// find returns the kill that a victim belongs to, if it is known already.
func (k *Kills) find(v *bpf.Victim) *kill {
	for i := len(k.recent) - 1; i >= 0; i-- {
		x := k.recent[i]
		switch {
		case v.Kill != 0:
			if x.id == v.Kill {
				return x
			}
		case x.id == 0 && x.limit != 0 && x.record.By == identity.HostPID(v.By) && v.Time-x.last < together && sameKill(v, x.limit, x.ooms):
			return x
		}
	}
	return nil
}

// sameKill reports whether a victim is killed beside others: it is in a group
// below the limit, and no other OOM has happened there.
func sameKill(v *bpf.Victim, limit, ooms uint64) bool {
	group := false
	for _, m := range v.Memcgs {
		group = group || m.Group
		if m.Cgroup == limit {
			return group && m.OOMs == ooms
		}
	}
	return false
}

func (k *Kills) begin(t *identity.Table, v *bpf.Victim) *kill {
	x := &kill{id: v.Kill, record: identity.OOMRecord{Time: k.o.Clock.At(v.Time), By: identity.HostPID(v.By)}}
	m, source := k.limit(v)
	if m != nil {
		x.limit, x.ooms = m.Cgroup, m.OOMs
	}
	k.note(v)
	x.record.Limit = k.describeLimit(t, v, m, source)
	return k.push(x)
}

func (k *Kills) push(x *kill) *kill {
	x.seen = map[identity.ProcessKey]bool{}
	k.counts.WithLabelValues(string(x.record.Limit.Scope), string(x.record.Limit.Source)).Inc()
	if len(k.recent) == maxRecent {
		k.recent = append(k.recent[:0], k.recent[1:]...)
	}
	k.recent = append(k.recent, x)
	return x
}

func (k *Kills) add(x *kill, v identity.OOMVictim, at uint64) {
	key := identity.ProcessKey{PID: v.PID, Start: v.Start}
	if x.seen[key] {
		return
	}
	x.seen[key], x.last = true, at
	if len(x.record.Victims) < identity.MaxOOMVictims {
		x.record.Victims = append(x.record.Victims, v)
	} else {
		x.record.More++
	}
	if k.o.Memory != nil {
		r := x.record
		r.Victims = append([]identity.OOMVictim(nil), r.Victims...)
		k.o.Memory.PutOOM(r)
	}
}
