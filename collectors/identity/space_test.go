package identity

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/bpf"
)

// space is a set of nested namespaces, as the kernel has them.
type space struct {
	pid, user []bpf.Level // from the host inwards
	cgroup    uint64
}

const (
	hostPIDNS  = 4026531836
	hostUserNS = 4026531837
)

func host() space {
	return space{pid: []bpf.Level{{PIDNS: hostPIDNS, PIDNSOwner: hostUserNS}}, user: []bpf.Level{{UserNS: hostUserNS}}, cgroup: 1}
}

// unshareUser enters a new user namespace; id 0 is that of an old kernel.
func (s space) unshareUser(inum uint32, id uint64, owner uint32) space {
	s.user = append(slices.Clip(s.user), bpf.Level{UserNS: inum, UserNSID: id, OwnerUID: owner, OwnerGID: owner})
	return s
}

// unsharePID enters a new pid namespace, whose first process starts at start.
func (s space) unsharePID(inum uint32, start uint64) space {
	owner := s.user[len(s.user)-1].UserNS
	s.pid = append(slices.Clip(s.pid), bpf.Level{PIDNS: inum, PIDNSStart: start, PIDNSOwner: owner})
	return s
}

func (s space) in(cgroup uint64) space {
	s.cgroup = cgroup
	return s
}

// task is what the kernel tells of a process at a time: pid 1 of a namespace
// is the one that started with it.
func (s space) task(kind bpf.Kind, pid, ppid uint32, start, at uint64) *bpf.Process {
	p := &bpf.Process{
		Kind: kind, Time: at, Start: start, Cgroup: s.cgroup, PID: pid, PPID: ppid, LoginUID: NoID, Threads: 1,
		Comm: fmt.Sprintf("c%d", pid), PIDLevels: slices.Clone(s.pid), UserLevels: slices.Clone(s.user),
	}
	for i := range p.PIDLevels {
		switch l := &p.PIDLevels[i]; {
		case i == 0:
			l.PID = pid
		case l.PIDNSStart == start:
			l.PID = 1
		default:
			l.PID = pid + uint32(i)
		}
	}
	return p
}

func (s space) fork(pid, ppid uint32, at uint64) *bpf.Process {
	return s.task(bpf.KindFork, pid, ppid, at, at)
}

func exit(pid uint32, start, at uint64) *bpf.Exit { return &bpf.Exit{Time: at, Start: start, PID: pid} }

func apply(table *Table, records ...any) {
	for _, r := range records {
		table.Apply(r)
	}
}

// inums names a container by the namespaces of its chain.
func inums(c *Container) string {
	var path []string
	for _, x := range c.Chain() {
		if x.byUser {
			path = append(path, fmt.Sprintf("u%d", x.UserNS.Key.Inum))
		} else {
			path = append(path, fmt.Sprintf("p%d", x.PIDNS.Inum))
		}
	}
	return strings.Join(path, "/")
}

// box is what matters of a container.
type box struct {
	Path           string
	User           uint32
	UserLevel      int
	Live, Peak     int
	Children       int
	Init           HostPID
	Cgroup         string
	Escaped, Ended bool
}

func boxOf(c *Container) box {
	return box{inums(c), c.UserNS.Key.Inum, c.UserLevel, c.Live, c.Peak, c.Children, c.Init.PID, c.Cgroup, c.Escaped, c.Gone()}
}

func boxes(table *Table) (all []box) {
	for _, c := range table.Containers() {
		all = append(all, boxOf(c))
	}
	return all
}

// where says which container each live process is in.
func where(table *Table) map[HostPID]string {
	all := map[HostPID]string{}
	for _, p := range table.Processes() {
		all[p.Key.PID] = inums(p.Container)
	}
	return all
}

// audit recounts all that the table counts.
func audit(t *testing.T, table *Table) {
	t.Helper()
	homes, live, children := map[*Home]int{}, map[*Container]int{}, map[*Container]int{}
	cgroups, refs := map[*Cgroup]int{}, map[*UserNamespace]int{}
	spaces := map[*UserNamespace]bool{}
	for pid, p := range table.live {
		homes[p.Home]++
		live[p.Container]++
		cgroups[p.Cgroup]++
		if ns := p.Home.innermost(); ns != nil {
			refs[ns]++
		}
		for _, ns := range p.Home.UserNSs {
			spaces[ns] = true
		}
		if pid != p.Key.PID || p.Exited || p.Container != p.Home.Links[len(p.Home.Links)-1] {
			t.Errorf("process %d: %+v", pid, p)
		}
		for _, c := range p.Home.Links {
			if table.containers[c.ID] != c {
				t.Errorf("process %d is in %s, which is not in the table", pid, inums(c))
			}
		}
	}
	for _, c := range table.containers {
		if c.Parent != nil {
			children[c.Parent]++
		}
	}
	for id, c := range table.containers {
		if c.ID != id || c.gone || c.Live != live[c] || c.Children != children[c] || c.Live+c.Children <= 0 || c.Peak < c.Live ||
			table.links[linkKey{c.PIDNS, c.linkUser()}] != c {
			t.Errorf("container %s: %+v, want %d live, %d children", inums(c), c, live[c], children[c])
		}
	}
	for key, h := range table.homes {
		if h.key != key || h.refs != homes[h] || h.refs <= 0 {
			t.Errorf("home %v: %d references, want %d", key, h.refs, homes[h])
		}
	}
	for id, g := range table.cgroups {
		if g.ID != id || g.refs != cgroups[g] || g.refs <= 0 {
			t.Errorf("cgroup %d: %d references, want %d", id, g.refs, cgroups[g])
		}
	}
	for inum, ns := range table.userns {
		if spaces[ns] = true; ns.Key.Inum != inum || ns.gone {
			t.Errorf("user namespace %d: %+v", inum, ns)
		}
	}
	for ns := range spaces {
		if ns.Parent != nil && ns.Parent.Level > 0 && (ns.refs > 0 || table.userns[ns.Key.Inum] == ns) {
			refs[ns.Parent]++
		}
	}
	for ns := range spaces {
		if ns.refs != refs[ns] {
			t.Errorf("user namespace %v: %d references, want %d", ns.Key, ns.refs, refs[ns])
		}
	}
	if len(table.links) != len(table.containers) || len(table.homes) != len(homes) || len(table.cgroups) != len(cgroups) {
		t.Errorf("%d links of %d containers, %d homes of %d, %d cgroups of %d", len(table.links), len(table.containers),
			len(table.homes), len(homes), len(table.cgroups), len(cgroups))
	}
}

// empty fails unless nothing is left.
func empty(t *testing.T, table *Table) {
	t.Helper()
	audit(t, table)
	if p, c, u, g := table.Sizes(); p+c+u+g+len(table.homes)+len(table.links) != 0 {
		t.Errorf("left: %d processes, %d containers, %d user namespaces, %d cgroups, %d homes, %d links",
			p, c, u, g, len(table.homes), len(table.links))
	}
}
