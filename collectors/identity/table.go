package identity

import (
	"path"
	"slices"

	"github.com/eyas-agent/eyas/bpf"
)

// Options of a Table.
type Options struct {
	// Boot is the kernel's boot id: short ids are stable within it.
	Boot string
	// Nodename is the host name of the node: one that is no container's own.
	Nodename string
	// CgroupPath resolves a v2 cgroup id; "" when the cgroup is gone. Nil
	// resolves nothing.
	CgroupPath func(id uint64) string
	// CgroupRoot returns the part of a cgroup path that holds the whole
	// container of the process that lives there; around is that part of the
	// container around it, "" for none. Nil takes the path as it is.
	CgroupRoot func(path, around string) string
	// Generation revives the generation of a user namespace seen before a
	// restart, on kernels without ns_id. Nil revives none.
	Generation func(inum uint32, level int, owner HostUID, sum uint64) (gen uint64, ok bool)
}

// Table is what is alive now. It is rebuilt from the kernel at any time and
// not safe for concurrent use.
type Table struct {
	o          Options
	live       map[HostPID]*Process
	homes      map[homeKey]*Home
	links      map[linkKey]*Container
	recent     recent
	containers map[string]*Container
	userns     map[uint32]*UserNamespace // current generation, by inum
	cgroups    map[uint64]*Cgroup
	initUser   *UserNamespace
	initPID    NSKey
	changes    Changes
	stats      TableStats
	labelled   map[PodLabels]*Container // outermost ones that Kubernetes knows
	untold     map[ProcessKey]bool      // seen by a snapshot before the event of their birth
	dying      map[ProcessKey]bool      // seen dead by a snapshot before the event of their death
}

type linkKey struct{ pid, user NSKey }

// TableStats counts what the table met that should not happen, or not often.
type TableStats struct {
	MissedExits uint64 // a pid was taken over without its owner's exit
	Recycled    uint64 // user namespace inums taken over by another one
}

// Changes are what others must hear of since the last TakeChanges.
type Changes struct {
	Seen       []*Process       // new, or with new facts worth remembering
	Exited     []*Process       // left the table
	LateExits  []bpf.Exit       // of processes not in the table
	Containers []*Container     // new
	Gone       []*Container     // left the table
	Placed     bool             // a container's cgroup is another
	Namespaces []*UserNamespace // new, or with a new map
	GoneNS     []*UserNamespace
	NeedMaps   []HostPID // members of user namespaces with unknown maps
}

// NewTable returns an empty table.
func NewTable(o Options) *Table {
	return &Table{
		o: o, live: map[HostPID]*Process{}, homes: map[homeKey]*Home{}, links: map[linkKey]*Container{},
		containers: map[string]*Container{}, userns: map[uint32]*UserNamespace{}, cgroups: map[uint64]*Cgroup{}, labelled: map[PodLabels]*Container{},
		initUser: &UserNamespace{Mapped: true, UIDs: UIDMap{{Count: NoID}}, GIDs: GIDMap{{Count: NoID}}},
	}
}

// TakeChanges returns and forgets the changes.
func (t *Table) TakeChanges() Changes {
	c := t.changes
	t.changes = Changes{}
	return c
}

// Stats returns the counters.
func (t *Table) Stats() TableStats { return t.stats }

// Sizes returns the number of live processes, containers, user namespaces and
// cgroups.
func (t *Table) Sizes() (processes, containers, userns, cgroups int) {
	return len(t.live), len(t.containers), len(t.userns), len(t.cgroups)
}

// Apply takes one record of the kernel. Records may come twice and processes
// of the iterator may be older than what is known: nothing is counted double,
// and older facts do not replace newer ones.
func (t *Table) Apply(record any) {
	switch r := record.(type) {
	case *bpf.Process:
		t.applyProcess(r)
	case *bpf.Exit:
		t.applyExit(r)
	case *bpf.Attach:
		if p := t.live[HostPID(r.PID)]; p != nil && p.Key.Start == r.Start && r.Time >= p.Last {
			t.setCgroup(p, r.Cgroup)
		}
	case *bpf.UserNS:
		t.applyUserNS(r)
	}
}

func (t *Table) applyProcess(r *bpf.Process) {
	if r.Zombie {
		return // dead: its exit was, or will be, told
	}
	if len(r.PIDLevels) < 2 && len(r.UserLevels) < 2 {
		return // not nested: the programs tell of no such process
	}
	pid := HostPID(r.PID)
	if r.Kind == bpf.KindFork {
		delete(t.untold, ProcessKey{PID: pid, Start: r.Start})
	}
	p := t.live[pid]
	if p != nil && p.Key.Start != r.Start {
		if r.Start < p.Key.Start {
			return // an old record of a pid that has a new owner
		}
		t.stats.MissedExits++
		t.remove(p, r.Time)
		p = nil
	}
	isNew := p == nil
	if isNew {
		p = &Process{Key: ProcessKey{PID: pid, Start: r.Start}, First: r.Time}
		t.live[pid] = p
	}
	if r.HasArgs && (r.Time >= p.Last || p.Exe == "" && r.ExecID == p.ExecID) {
		p.Exe, p.Argv, p.ArgvCut = r.Exe, r.Argv, r.ArgvCut
	}
	if !isNew && r.Time < p.Last {
		return
	}
	if !isNew && !r.HasArgs && r.ExecID != p.ExecID {
		p.Exe, p.Argv, p.ArgvCut = "", nil, false // those of a program before an exec that was not told
	}
	p.ExecID = r.ExecID
	changed := isNew || r.Kind == bpf.KindExec ||
		p.UID != HostUID(r.UID) || p.GID != HostGID(r.GID)
	p.Last = r.Time
	p.PPID = HostPID(r.PPID)
	p.UID, p.GID, p.RUID, p.RGID = HostUID(r.UID), HostGID(r.GID), HostUID(r.RUID), HostGID(r.RGID)
	p.LoginUID, p.MntNS, p.Threads = r.LoginUID, r.MntNS, r.Threads
	p.Comm = r.Comm
	if isNew && p.Exe == "" {
		t.inherit(p)
	}
	moved := t.settle(p, r)
	t.setCgroup(p, r.Cgroup)
	t.describe(p, r)
	if changed || moved {
		t.changes.Seen = append(t.changes.Seen, p)
	}
}

// inherit gives a forked child the command line of its parent, which is what
// it runs until it execs.
func (t *Table) inherit(p *Process) {
	if parent := t.live[p.PPID]; parent != nil && parent.Comm == p.Comm {
		p.Exe, p.Argv, p.ArgvCut = parent.Exe, parent.Argv, parent.ArgvCut
	}
}

// describe keeps what containers are named by for want of better evidence: the
// first process of a pid namespace speaks for it, also when it has gone on into
// a user namespace of its own; the first process seen speaks where there is
// none better.
func (t *Table) describe(p *Process, r *bpf.Process) {
	isInit := len(p.PIDs) > 0 && p.PIDs[len(p.PIDs)-1] == 1
	for _, c := range p.Home.Links {
		speaks := c == p.Container || (isInit && !c.byUser && c.PIDLevel == len(p.PIDs))
		if !speaks {
			continue
		}
		if c.Init != p.Key {
			first := isInit && !c.byUser && c.PIDLevel == len(p.PIDs)
			if !first && c.Init != (ProcessKey{}) {
				continue
			}
			c.Init = p.Key
		}
		c.InitComm = program(r.Comm, p.Argv)
		if r.Nodename != "" {
			c.Nodename = r.Nodename
		}
		t.placeContainer(c, p.Cgroup.Path)
	}
}

// program is what a first process calls itself. The comm of one that began its own file
// anew by /proc/self/exe, as podman, buildah and runc do, is "exe"; its arguments say more.
func program(comm string, argv []string) string {
	if comm != "exe" || len(argv) == 0 {
		return comm
	}
	if name := path.Base(argv[0]); name != "." && name != "/" && len(name) < maxComm {
		return name
	}
	return comm
}

// maxComm is how long a comm can be (TASK_COMM_LEN, include/linux/sched.h).
const maxComm = 16

// settle puts a process into the container its namespaces say, and reports
// whether that is a new place for it.
func (t *Table) settle(p *Process, r *bpf.Process) bool {
	home := t.home(r)
	p.PIDs = p.PIDs[:0]
	for _, l := range r.PIDLevels[1:] {
		p.PIDs = append(p.PIDs, PID(l.PID))
	}
	inner := home.innermost()
	if inner != nil && inner.sum != r.MapSum {
		t.changes.NeedMaps = append(t.changes.NeedMaps, p.Key.PID)
	}
	if p.Home == home {
		return false
	}
	old := p.Home
	p.Home = home
	home.refs++
	c := home.Links[len(home.Links)-1]
	c.Live++
	c.Peak = max(c.Peak, c.Live)
	c.Last = r.Time
	prev := p.Container
	p.Container = c
	if inner != nil {
		inner.refs++
	}
	if old != nil {
		t.leave(old, prev, r.Time)
	}
	return true
}

func (h *Home) innermost() *UserNamespace {
	if len(h.UserNSs) == 0 {
		return nil
	}
	return h.UserNSs[len(h.UserNSs)-1]
}

// leave undoes what settle counted.
func (t *Table) leave(h *Home, c *Container, now uint64) {
	if ns := h.innermost(); ns != nil {
		t.unrefUserNS(ns, now)
	}
	c.Live--
	c.Last = now
	t.bury(c, now)
	if h.refs--; h.refs == 0 {
		delete(t.homes, h.key)
	}
}

// bury removes a container, and those around it, when nothing lives there.
func (t *Table) bury(c *Container, now uint64) {
	for c != nil && c.Live == 0 && c.Children == 0 && !c.gone {
		c.gone, c.Last = true, now
		delete(t.links, linkKey{c.PIDNS, c.linkUser()})
		delete(t.containers, c.ID)
		t.unlabel(c)
		t.changes.Gone = append(t.changes.Gone, c)
		t.recent.add(c)
		c = c.Parent
		if c != nil {
			c.Children--
		}
	}
}

func (t *Table) unrefUserNS(ns *UserNamespace, now uint64) {
	for ns != nil && ns.Level > 0 {
		if ns.refs--; ns.refs > 0 {
			ns.Last = now
			return
		}
		t.endUserNS(ns, now)
		ns = ns.Parent
	}
}

func (t *Table) endUserNS(ns *UserNamespace, now uint64) {
	if t.userns[ns.Key.Inum] == ns {
		delete(t.userns, ns.Key.Inum)
	}
	if !ns.gone {
		ns.gone, ns.Last = true, now
		t.changes.GoneNS = append(t.changes.GoneNS, ns)
	}
}

func (t *Table) applyExit(r *bpf.Exit) {
	p := t.live[HostPID(r.PID)]
	if p == nil || p.Key.Start != r.Start {
		t.changes.LateExits = append(t.changes.LateExits, *r)
		return
	}
	p.ExitTold, p.ExitCode, p.OOM = true, r.Code, r.OOM
	t.remove(p, r.Time)
}

// remove takes a process out of the table.
func (t *Table) remove(p *Process, now uint64) {
	p.Exited = true
	p.Last = max(p.Last, now)
	delete(t.live, p.Key.PID)
	t.changes.Exited = append(t.changes.Exited, p)
	t.leave(p.Home, p.Container, now)
	t.unrefCgroup(p.Cgroup)
}

// Process returns a live process by host pid.
func (t *Table) Process(pid HostPID) *Process { return t.live[pid] }

// Processes returns all live processes, by host pid.
func (t *Table) Processes() []*Process {
	all := make([]*Process, 0, len(t.live))
	for _, p := range t.live {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Process) int { return int(a.Key.PID) - int(b.Key.PID) })
	return all
}

// Containers returns all live containers, parents before children, siblings by
// their first sight.
func (t *Table) Containers() []*Container {
	all := make([]*Container, 0, len(t.containers))
	for _, c := range t.containers {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Container) int {
		switch {
		case a.Level != b.Level:
			return a.Level - b.Level
		case a.First != b.First:
			return cmpUint(a.First, b.First)
		}
		return cmpString(a.ID, b.ID)
	})
	return all
}

// Container returns a live container by its short id.
func (t *Table) Container(id string) *Container { return t.containers[id] }

// UserNamespaces returns all live user namespaces but the initial one, parents
// before children.
func (t *Table) UserNamespaces() []*UserNamespace {
	all := make([]*UserNamespace, 0, len(t.userns))
	for _, u := range t.userns {
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b *UserNamespace) int {
		if a.Level != b.Level {
			return a.Level - b.Level
		}
		return cmpUint(uint64(a.Key.Inum), uint64(b.Key.Inum))
	})
	return all
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Members returns up to most live processes that are directly in the user
// namespace with the inum.
func (t *Table) Members(inum uint32, most int) []HostPID {
	ns := t.userns[inum]
	if ns == nil || ns.refs == 0 {
		return nil
	}
	var found []HostPID
	for pid, p := range t.live {
		if p.Home.innermost() == ns {
			if found = append(found, pid); len(found) >= most {
				break
			}
		}
	}
	return found
}

// UserNS returns a live user namespace by its key; nil when there is none.
func (t *Table) UserNS(key NSKey) *UserNamespace {
	if ns := t.userns[key.Inum]; ns != nil && ns.Key == key {
		return ns
	}
	return nil
}

// Initial returns the initial pid and user namespaces' inums, 0 before the
// first record.
func (t *Table) Initial() (pidns, userns uint32) { return t.initPID.Inum, t.initUser.Key.Inum }
