package identity

import (
	"slices"

	"github.com/eyas-agent/eyas/bpf"
)

// home finds or makes the Home of a record's namespaces.
func (t *Table) home(r *bpf.Process) *Home {
	pidTop, userTop := len(r.PIDLevels)-1, len(r.UserLevels)-1
	t.initPID = NSKey{Inum: r.PIDLevels[0].PIDNS}
	if t.initUser.Key.IsZero() {
		t.initUser.Key = NSKey{Inum: r.UserLevels[0].UserNS, Gen: r.UserLevels[0].UserNSID}
	}

	key := homeKey{pid: pidKey(r.PIDLevels[pidTop])}
	if l := r.UserLevels[userTop]; userTop > 0 && l.UserNSID != 0 {
		key.user = NSKey{Inum: l.UserNS, Gen: l.UserNSID}
		if h := t.homes[key]; h != nil {
			return h
		}
	}
	users := make([]*UserNamespace, userTop)
	parent := t.initUser
	for i := 1; i <= userTop; i++ {
		l := r.UserLevels[i]
		var sum uint64
		if i == userTop && r.Kind == bpf.KindTask { // a restart meets the old ones in its snapshot
			sum = r.MapSum
		}
		users[i-1] = t.userNS(l.UserNS, l.UserNSID, i, HostUID(l.OwnerUID), HostGID(l.OwnerGID), sum, parent, r.Time)
		parent = users[i-1]
	}
	if userTop > 0 {
		key.user = users[userTop-1].Key
	}
	if h := t.homes[key]; h != nil {
		return h
	}
	h := &Home{UserNSs: users, key: key, PIDNSs: make([]NSKey, pidTop)}
	for i := range pidTop {
		h.PIDNSs[i] = pidKey(r.PIDLevels[i+1])
	}
	h.Links = t.chain(r, h)
	t.homes[key] = h
	return h
}

// Holds reports whether the table has the record's process, in the namespaces that
// the record names. If not, the record may name by an old number a namespace that
// is not told yet: what the kernel has told should be applied before it.
func (t *Table) Holds(r *bpf.Process) bool {
	p := t.live[HostPID(r.PID)]
	if p == nil || p.Key.Start != r.Start || p.Home.key.pid != pidKey(r.PIDLevels[len(r.PIDLevels)-1]) {
		return false
	}
	top := len(r.UserLevels) - 1
	inner, l := p.Home.innermost(), r.UserLevels[top]
	if top == 0 || inner == nil {
		return top == 0 && inner == nil
	}
	return inner.Key.Inum == l.UserNS && inner.is(l.UserNSID, top, HostUID(l.OwnerUID), HostGID(l.OwnerGID)) &&
		(inner.sum == r.MapSum || l.UserNSID != 0 || len(inner.UIDs) == 0 || len(inner.GIDs) == 0)
}

// ContainerOf returns the id of the container that a record's namespaces name,
// "" when the table does not have it.
func (t *Table) ContainerOf(r *bpf.Process) string {
	key := homeKey{pid: pidKey(r.PIDLevels[len(r.PIDLevels)-1])}
	if l := r.UserLevels[len(r.UserLevels)-1]; len(r.UserLevels) > 1 {
		ns := t.userns[l.UserNS]
		if ns == nil {
			return ""
		}
		key.user = ns.Key
	}
	h := t.homes[key]
	if h == nil {
		return ""
	}
	return h.Links[len(h.Links)-1].ID
}

func pidKey(l bpf.Level) NSKey { return NSKey{Inum: l.PIDNS, Gen: l.PIDNSStart} }

// chain makes the containers of a home. A pid namespace is a container, in the
// user namespace that owns it. User namespaces further in than the innermost
// pid namespace's owner are containers of their own; those between two pid
// namespaces' owners belong to the inner one, because an engine that makes one
// to become root (rootless podman) is no nest level of its own.
func (t *Table) chain(r *bpf.Process, h *Home) []*Container {
	var links []*Container
	var parent *Container
	user := 0 // user level reached
	pid := NSKey{Inum: r.PIDLevels[0].PIDNS}
	for i := 1; i < len(r.PIDLevels); i++ {
		l := r.PIDLevels[i]
		for u := user + 1; u < len(r.UserLevels); u++ {
			if r.UserLevels[u].UserNS == l.PIDNSOwner {
				user = u
				break
			}
		}
		pid = pidKey(l)
		parent = t.link(parent, linkKey{pid: pid}, i, t.userAt(h, user), user, r.Time)
		links = append(links, parent)
	}
	for u := user + 1; u < len(r.UserLevels); u++ {
		ns := h.UserNSs[u-1]
		parent = t.link(parent, linkKey{pid: pid, user: ns.Key}, len(r.PIDLevels)-1, ns, u, r.Time)
		links = append(links, parent)
	}
	return links
}

func (t *Table) userAt(h *Home, level int) *UserNamespace {
	if level == 0 {
		return t.initUser
	}
	return h.UserNSs[level-1]
}

// linkUser is the user half of the container's link key.
func (c *Container) linkUser() NSKey {
	if c.byUser {
		return c.UserNS.Key
	}
	return NSKey{}
}

func (t *Table) link(parent *Container, key linkKey, pidLevel int, ns *UserNamespace, userLevel int, now uint64) *Container {
	if c := t.links[key]; c != nil {
		return c
	}
	c := &Container{
		ID: stableID(t.o.Boot, key.pid, key.user), Parent: parent, Level: 1,
		PIDNS: key.pid, PIDLevel: pidLevel, UserNS: ns, UserLevel: userLevel,
		First: now, Last: now, byUser: !key.user.IsZero(), around: t.o.Nodename,
	}
	if parent != nil {
		c.Level = parent.Level + 1
		parent.Children++
	}
	t.links[key] = c
	t.containers[c.ID] = c
	t.changes.Containers = append(t.changes.Containers, c)
	return c
}

// userNS finds or makes the current generation of a user namespace. sum is the
// digest of its maps, 0 when that is not known.
func (t *Table) userNS(inum uint32, id uint64, level int, owner HostUID, group HostGID, sum uint64, parent *UserNamespace, now uint64) *UserNamespace {
	cur := t.userns[inum]
	if cur != nil && cur.is(id, level, owner, group) {
		if cur.Parent == nil && parent != nil {
			cur.Parent = parent
			parent.refs++
		}
		return cur
	}
	gen := id
	if gen == 0 {
		gen = now
		if t.o.Generation != nil && sum != 0 {
			if old, ok := t.o.Generation(inum, level, owner, sum); ok {
				gen = old
			}
		}
	}
	ns := &UserNamespace{
		Key: NSKey{Inum: inum, Gen: gen}, Parent: parent, Level: level,
		OwnerUID: owner, OwnerGID: group, First: now, Last: now, id: id,
	}
	if parent != nil {
		parent.refs++ // first, lest the last child's retirement end it
	}
	// An old record of an inum that has a new owner leaves that alone: only
	// processes of their time know such a namespace.
	if cur == nil || now >= cur.First {
		if cur != nil {
			t.retire(cur, now)
		}
		t.userns[inum] = ns
	}
	t.changes.Namespaces = append(t.changes.Namespaces, ns)
	return ns
}

// is reports whether a record of the namespace's inum may be its own.
func (u *UserNamespace) is(id uint64, level int, owner HostUID, group HostGID) bool {
	if id != 0 {
		return u.id == id
	}
	return u.Level == level && u.OwnerUID == owner && u.OwnerGID == group
}

// retire takes a user namespace off its inum: another one has it now.
func (t *Table) retire(ns *UserNamespace, now uint64) {
	t.stats.Recycled++
	t.endUserNS(ns, now)
	if ns.refs == 0 {
		t.unrefUserNS(ns.Parent, now)
	}
}

// applyUserNS takes the maps of a user namespace. Each is written once; other
// maps under the same inum are another namespace's.
func (t *Table) applyUserNS(r *bpf.UserNS) {
	cur := t.userns[r.Inum]
	owner, group := HostUID(r.OwnerUID), HostGID(r.OwnerGID)
	if cur != nil && (r.Time < cur.told || (r.Time < cur.First && !cur.is(r.ID, r.Level, owner, group))) {
		return // older than what is known
	}
	if cur != nil && r.ID == 0 && cur.Mapped && cur.sum != r.MapSum && !cur.awaits(r) {
		if r.Time < cur.Last {
			return
		}
		t.retire(cur, r.Time)
	}
	parent := t.userns[r.Parent]
	if r.Level == 1 {
		parent = t.initUser
	}
	ns := t.userNS(r.Inum, r.ID, r.Level, owner, group, r.MapSum, parent, r.Time)
	ns.told = r.Time
	if ns.Mapped && ns.sum == r.MapSum && !ns.Partial {
		return
	}
	ns.sum = r.MapSum
	ns.UIDs, ns.GIDs = newMap[UID, HostUID](r.UID), newMap[GID, HostGID](r.GID)
	ns.Partial = r.Partial
	ns.Mapped = len(r.UID)+len(r.GID) > 0 || r.Partial
	t.changes.Namespaces = append(t.changes.Namespaces, ns)
}

// awaits reports whether r may be the namespace with one more map written: the
// uid and the gid map are written one after the other.
func (u *UserNamespace) awaits(r *bpf.UserNS) bool {
	uids, gids := newMap[UID, HostUID](r.UID), newMap[GID, HostGID](r.GID)
	return !u.Partial && !r.Partial && (len(u.UIDs) == 0 || len(u.GIDs) == 0) &&
		(len(u.UIDs) == 0 || slices.Equal(u.UIDs, uids)) && (len(u.GIDs) == 0 || slices.Equal(u.GIDs, gids))
}

// Owner returns the live container that processes with these innermost
// namespaces count in; nil when there is none (any more).
func (t *Table) Owner(pidns NSKey, userns uint32, usernsID uint64) *Container {
	key := homeKey{pid: pidns}
	if userns != t.initUser.Key.Inum {
		ns := t.userns[userns]
		if ns == nil || (usernsID != 0 && ns.id != usernsID) {
			// Its innermost user namespace is gone: the pid namespace still
			// says whose it was.
			return t.links[linkKey{pid: pidns}]
		}
		key.user = ns.Key
	}
	if h := t.homes[key]; h != nil {
		return h.Links[len(h.Links)-1]
	}
	return t.links[linkKey{pid: pidns}]
}
