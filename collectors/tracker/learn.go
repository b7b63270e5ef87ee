package tracker

import "github.com/eyas-agent/eyas/collectors/identity"

// Learn takes the name of a container with this pid namespace, also of one that ended
// lately, from somebody who has read what its runtime says of it. One that has a name
// keeps it.
func (t *Tracker) Learn(pidns identity.NSKey, name identity.Name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.o.Table.ByPIDNS(pidns)
	if c == nil {
		c = t.o.Table.Gone(pidns)
	}
	if c == nil || c.Name.Name != "" {
		return
	}
	name.PodUID = c.Name.PodUID
	c.Name = name
	if !c.Gone() {
		t.wakePods()
	}
	if t.o.Memory != nil {
		t.o.Memory.PutContainer(c.Record(t.o.Clock))
	}
}
