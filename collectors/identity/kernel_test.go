package identity

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/eyas-agent/eyas/bpf"
)

// kernel is a simple one: processes that fork, exec, move and die, and the
// records that tell of it. It knows nothing of tables.
type kernel struct {
	*rand.Rand
	now    uint64
	nextNS uint64
	ids    bool // user namespaces have an ns_id
	procs  map[uint32]*proc
	dead   []uint32 // inums free for reuse
	queue  []any
}

type proc struct {
	space
	start  uint64
	uid    uint32
	zombie bool
}

func (k *kernel) record(kind bpf.Kind, pid uint32) *bpf.Process {
	p := k.procs[pid]
	r := p.task(kind, pid, 1, p.start, k.now)
	r.UID, r.Zombie = p.uid, p.zombie
	return r
}

func (k *kernel) inum() uint32 {
	if n := len(k.dead); n > 0 && k.IntN(2) == 0 {
		inum := k.dead[n-1]
		k.dead = k.dead[:n-1]
		return inum
	}
	k.nextNS++
	return uint32(1000 + k.nextNS)
}

// unshare makes namespaces of its own for a process that starts now. Owners
// differ, so that old kernels too can be told apart.
func (k *kernel) unshare(s space) space {
	if k.IntN(2) == 0 && len(s.user) < 6 {
		k.nextNS++
		id := k.nextNS
		if !k.ids {
			id = 0
		}
		s = s.unshareUser(k.inum(), id, uint32(k.nextNS))
	}
	if (k.IntN(2) == 0 || len(s.user) == 1) && len(s.pid) < 5 {
		k.nextNS++
		s = s.unsharePID(uint32(1000+k.nextNS), k.now)
	}
	return s.in(1 + k.Uint64N(5))
}

func (k *kernel) pick() uint32 {
	pids := slices.Sorted(maps.Keys(k.procs))
	return pids[k.IntN(len(pids))]
}

func (k *kernel) step() {
	k.now += 1 + k.Uint64N(3)
	op := k.IntN(10)
	if len(k.procs) == 0 {
		op = 0
	}
	switch {
	case op < 4 && len(k.procs) < 40:
		s := host()
		if len(k.procs) > 0 && k.IntN(6) > 0 {
			s = k.procs[k.pick()].space
		}
		if len(s.user)+len(s.pid) == 2 || k.IntN(4) == 0 {
			s = k.unshare(s)
		}
		pid := 1 + k.Uint32N(60)
		if k.procs[pid] != nil || len(s.user)+len(s.pid) == 2 {
			return
		}
		k.procs[pid] = &proc{space: s, start: k.now, uid: k.Uint32N(3)}
		k.queue = append(k.queue, k.record(bpf.KindFork, pid))
	case op < 5:
		pid := k.pick()
		k.procs[pid].uid++
		k.queue = append(k.queue, k.record(bpf.KindExec, pid))
	case op < 6:
		// setns tells nobody.
		to := k.procs[k.pick()]
		k.procs[k.pick()].space = to.space
	case op < 7:
		pid := k.pick()
		k.procs[pid].cgroup = 1 + k.Uint64N(5)
		k.queue = append(k.queue, &bpf.Attach{Time: k.now, Start: k.procs[pid].start, PID: pid, Cgroup: k.procs[pid].cgroup})
	case op < 8:
		if p := k.procs[k.pick()]; len(p.user) > 1 {
			owner := p.user[len(p.user)-1].OwnerUID
			one := []bpf.Extent{{First: 0, Host: owner, Count: 1}}
			k.queue = append(k.queue, told(p.space, k.now, uint64(owner), one, one))
		}
	default:
		k.exit(k.pick())
	}
}

func (k *kernel) exit(pid uint32) {
	p := k.procs[pid]
	k.queue = append(k.queue, exit(pid, p.start, k.now))
	delete(k.procs, pid)
	for _, l := range p.user[1:] {
		used := slices.Contains(k.dead, l.UserNS)
		for _, q := range k.procs {
			used = used || slices.ContainsFunc(q.user, func(o bpf.Level) bool { return o.UserNS == l.UserNS })
		}
		if !used {
			k.dead = append(k.dead, l.UserNS)
		}
	}
}

// path is the container of a process, said anew: pid namespaces, then the user
// namespaces further in than the innermost one's owner.
func (p *proc) path() string {
	path, user := "", 0
	for _, l := range p.pid[1:] {
		path += fmt.Sprintf("/p%d", l.PIDNS)
		if at := slices.IndexFunc(p.user, func(u bpf.Level) bool { return u.UserNS == l.PIDNSOwner }); at > user {
			user = at
		}
	}
	for _, l := range p.user[user+1:] {
		path += fmt.Sprintf("/u%d", l.UserNS)
	}
	return path[1:]
}

// entry is what the table must know of a process.
type entry struct {
	Start, Cgroup uint64
	UID           HostUID
	Path          string
	UserNS        []uint32
}

func (k *kernel) entries() map[HostPID]entry {
	all := map[HostPID]entry{}
	for pid, p := range k.procs {
		e := entry{Start: p.start, Cgroup: p.cgroup, UID: HostUID(p.uid), Path: p.path()}
		for _, l := range p.user[1:] {
			e.UserNS = append(e.UserNS, l.UserNS)
		}
		all[HostPID(pid)] = e
	}
	return all
}

// entries leaves out user namespaces that are not the table's own.
func entries(table *Table) map[HostPID]entry {
	all := map[HostPID]entry{}
	for _, p := range table.Processes() {
		e := entry{Start: p.Key.Start, Cgroup: p.Cgroup.ID, UID: p.UID, Path: inums(p.Container)}
		for _, ns := range p.Home.UserNSs {
			if table.UserNS(ns.Key) == ns && !ns.gone {
				e.UserNS = append(e.UserNS, ns.Key.Inum)
			}
		}
		all[p.Key.PID] = e
	}
	return all
}
