package identity

// maxRecent bounds the containers that are kept for a while after their end.
const maxRecent = 1024

// recent are containers with a pid namespace of their own that are gone, the
// latest ones: what the kernel has counted for them may be read only now.
type recent struct {
	by   map[NSKey]*Container // by that namespace
	keys []NSKey              // the oldest first
}

func (r *recent) add(c *Container) {
	if c.PIDLevel == 0 || c.byUser {
		return
	}
	if r.by == nil {
		r.by = map[NSKey]*Container{}
	}
	if r.by[c.PIDNS] == nil {
		r.keys = append(r.keys, c.PIDNS)
	}
	r.by[c.PIDNS] = c
	if len(r.keys) > maxRecent {
		delete(r.by, r.keys[0])
		r.keys = r.keys[1:]
	}
}

// Gone returns the container that had this pid namespace as its own, if it ended
// lately; nil when it lives, or is not known any more.
func (t *Table) Gone(pidns NSKey) *Container { return t.recent.by[pidns] }

// Recent returns the containers with a pid namespace of their own that ended lately, the
// oldest first.
func (t *Table) Recent() []*Container {
	all := make([]*Container, 0, len(t.recent.keys))
	for _, k := range t.recent.keys {
		all = append(all, t.recent.by[k])
	}
	return all
}

// Counted returns the id of the container that what the kernel counts for these
// innermost namespaces is of, also if it ended lately; "" when none is known. was
// is what it returned before. That stays, unless another container lives that has
// this very user namespace: what one has counted is not another's after its end.
func (t *Table) Counted(pidns NSKey, userns uint32, usernsID uint64, was string) string {
	x := t.Owner(pidns, userns, usernsID)
	switch {
	case was != "" && (x == nil || x.UserNS.Key.Inum != userns):
		return was
	case x != nil:
		return x.ID
	}
	if x = t.Gone(pidns); x != nil {
		return x.ID
	}
	return ""
}
