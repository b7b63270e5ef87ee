package identity

import "strings"

// setCgroup records a process's cgroup and, for a container's first process,
// the container's.
func (t *Table) setCgroup(p *Process, id uint64) {
	if p.Cgroup == nil || p.Cgroup.ID != id {
		old := p.Cgroup
		p.Cgroup = t.cgroup(id)
		p.Cgroup.refs++
		t.unrefCgroup(old)
	}
	for _, c := range p.Home.Links {
		if c.Init == p.Key {
			t.placeContainer(c, p.Cgroup.Path)
		}
	}
	p.Outside = p.Container != nil && outside(p.Cgroup.Path, p.Container.Parent)
}

func (t *Table) placeContainer(c *Container, path string) {
	if path == "" {
		return
	}
	t.changes.Placed = t.changes.Placed || c.Cgroup != path
	c.Cgroup = path
	c.Root = path
	switch p := c.Parent; {
	case p != nil && p.Cgroup == path:
		c.Root = p.Root // it has no cgroup of its own
	case t.o.CgroupRoot != nil && p != nil:
		c.Root = t.o.CgroupRoot(path, p.Root)
	case t.o.CgroupRoot != nil:
		c.Root = t.o.CgroupRoot(path, "")
	}
	c.Escaped = outside(path, c.Parent)
}

// outside reports whether a cgroup path lies outside the subtree of a
// container. What is not known is not accused.
func outside(path string, parent *Container) bool {
	if parent == nil || parent.Root == "" || parent.Root == "/" || path == "" {
		return false
	}
	return path != parent.Root && !strings.HasPrefix(path, strings.TrimSuffix(parent.Root, "/")+"/")
}

func (t *Table) cgroup(id uint64) *Cgroup {
	if g := t.cgroups[id]; g != nil {
		return g
	}
	g := &Cgroup{ID: id}
	if t.o.CgroupPath != nil {
		g.Path = t.o.CgroupPath(id)
	}
	t.cgroups[id] = g
	return g
}

func (t *Table) unrefCgroup(g *Cgroup) {
	if g == nil {
		return
	}
	if g.refs--; g.refs == 0 {
		delete(t.cgroups, g.ID)
	}
}
