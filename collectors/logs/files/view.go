package files

import (
	"context"
	"regexp"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

func boxOf(k identity.NSKey) bpf.LogBox { return bpf.LogBox{PIDNS: k.Inum, Start: k.Gen} }

// view looks at the table, and starts and ends the reading of sandboxes.
func (s *Source) view(now time.Time) {
	if s.o.Table.Sync(s.ctx) == nil {
		s.synced = now
	}
	views, lives := s.views()
	s.start(views, lives, now)
}

// views returns what is known of each sandbox that is to be read, and which live. A
// container is looked for in what is right around it, and nowhere else: what is further
// out would have to take the word of those in between.
func (s *Source) views() (views map[string]*view, lives map[string]bool) {
	views, lives = map[string]*view{}, map[string]bool{"": true}
	s.o.Table.View(func(t *identity.Table, _ map[string]int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		known := map[string]bool{}
		get := func(x *identity.Container) *view {
			key := ""
			if x != nil {
				key = x.ID
			}
			v := views[key]
			if v == nil {
				v = &view{at: s.synced, key: key, init: identity.ProcessKey{PID: 1}, inside: s.all, children: map[string][]child{}, known: known}
				if x != nil {
					v.around = v.init
					v.pidns, v.init, v.inside = x.PIDNS, x.Init, s.inside(x)
				}
				if x != nil && x.Parent != nil {
					v.around = x.Parent.Init
				}
				views[key] = v
			}
			return v
		}
		node := get(nil)
		if node.inside = 0; s.all&bpf.LogSelf != 0 {
			node.inside = s.all
		}
		add := func(x *identity.Container) {
			names := namesOf(x)
			for _, n := range names {
				known[n] = true
			}
			if !x.OwnPIDNS() {
				return
			}
			c := child{box: boxOf(x.PIDNS), id: x.ID, names: names, init: x.Init, first: s.o.Clock.At(x.First), gone: x.Gone(), named: x.Name.Name != "", selected: s.selected(x)}
			if c.selected == 0 {
				return
			}
			v := get(x.Parent)
			for _, n := range names {
				v.children[n] = append(v.children[n], c)
			}
		}
		for _, x := range t.Recent() {
			add(x)
		}
		for _, x := range t.Containers() {
			add(x)
			if v := views[idOfParent(x)]; v != nil && x.OwnPIDNS() && len(namesOf(x)) == 0 {
				v.unnamed = true
			}
			lives[x.ID] = true
			if s.inside(x) != 0 && x.OwnPIDNS() {
				get(x)
			}
		}
		if node.inside == 0 && len(node.children) == 0 {
			delete(views, "")
		}
	})
	return views, lives
}

// start starts and ends the reading of sandboxes. While one lives, what is known of its
// files is kept, though nothing of it is to be read now.
func (s *Source) start(views map[string]*view, lives map[string]bool, now time.Time) {
	for key, v := range views {
		old := s.boxes[key]
		if old != nil && old.set(*v) {
			continue
		}
		b := &sandbox{src: s, key: key, v: *v, roots: map[string]*place{}, files: map[string]*follow{}}
		switch {
		case old != nil:
			old.cancel()
			b.files = old.files
			for _, f := range b.files {
				s.again(f, now)
			}
		case len(s.boxes) >= maxSandboxes:
			continue
		}
		var ctx context.Context
		ctx, b.cancel = context.WithCancel(s.ctx)
		s.boxes[key] = b
		s.workers.Go(func() { b.run(ctx) })
	}
	for key, b := range s.boxes {
		if views[key] != nil {
			continue
		}
		if now.Sub(b.end(now)) > 3*lastTurns && !lives[key] {
			b.cancel()
			delete(s.boxes, key)
		}
	}
	s.many.Store(int64(len(s.boxes)))
}

// selected says what is told of a container, as the programs do.
func (s *Source) selected(x *identity.Container) bpf.LogSelection {
	return Selected(x, s.all, s.chosen)
}

// Selected says what is told of a container: what is said of it, or of one around it,
// comes before what is said of all.
func Selected(x *identity.Container, all bpf.LogSelection, chosen map[bpf.LogBox]bpf.LogSelection) bpf.LogSelection {
	of := bpf.LogSelf
	if x.PIDLevel > 1 {
		of = bpf.LogInside
	}
	return said(x, bpf.LogSelf, of, all, chosen)
}

// inside says what is told of a container inside another.
func (s *Source) inside(x *identity.Container) bpf.LogSelection {
	return said(x, bpf.LogInside, bpf.LogInside, s.all, s.chosen)
}

// said walks outwards to the nearest container of which is said what is wanted, or that
// nothing is to be told; else it is what is said of all, if that is of such.
func said(x *identity.Container, want, of, all bpf.LogSelection, chosen map[bpf.LogBox]bpf.LogSelection) bpf.LogSelection {
	for ; x != nil; x = x.Parent {
		switch l := chosen[boxOf(x.PIDNS)]; {
		case l&bpf.LogNone != 0:
			return 0
		case l&want != 0:
			return l
		}
		want = bpf.LogInside
	}
	if all&of != 0 {
		return all
	}
	return 0
}

func idOfParent(x *identity.Container) string {
	if x.Parent == nil {
		return ""
	}
	return x.Parent.ID
}

var shortID = regexp.MustCompile(`^[0-9a-f]{12}$`)

// namesOf are the ids that a container may have with its runtime.
func namesOf(x *identity.Container) (names []string) {
	add := func(n string) {
		if n != "" {
			names = append(names, n)
		}
	}
	add(x.Name.ID)
	if refs := evidence.ParseCgroupPath(x.Cgroup); len(refs) > 0 && x.Name.ID == "" {
		if last := refs[len(refs)-1]; !last.Conmon {
			add(last.ID)
		}
	}
	if shortID.MatchString(x.Nodename) && (x.Parent == nil || x.Parent.Nodename != x.Nodename) {
		add(x.Nodename)
	}
	return names
}
