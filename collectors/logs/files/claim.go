package files

import (
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// finds finds the container that a file is of. Until it is known the file is held, not
// read.
func (s *sandbox) finds(v *view, f *follow, now time.Time) bool {
	if found, next := v.find(f.id, s.src.forgotten); found != nil {
		if f.adopted && s.src.is(f, found, v) {
			return s.src.adopt(f, v)
		}
		if f.file != nil && !s.src.take(f, f.tail.id) || !s.src.claim(f, found.box, found.selected) {
			if f.file != nil && now.Sub(f.found) > wait { // somebody else's
				if info, err := f.file.Stat(); err == nil {
					f.size = info.Size()
				}
				f.close()
			}
			return false
		}
		f.adopted, f.next, f.size = false, next, -1 // to be looked at, though it was refused before
		return true
	}
	if f.file == nil {
		_, err := f.open(now) // does nothing if it is as it was
		s.src.failed(err)
	}
	if f.file == nil {
		return false
	}
	size := int64(0)
	if info, err := f.file.Stat(); err == nil {
		size = info.Size()
	}
	known := v.known[f.id] || v.known[f.id[:12]]
	switch {
	case size <= f.pos: // nothing is new
		f.filled = time.Time{}
	case known && s.src.revive(f.was): // its monitor has written on
		return false
	case known || v.inside == 0 || !f.own: // somebody else's, or not to be told
	case f.waits(v, now):
		return false
	case !s.src.take(f, f.tail.id): // another sandbox's
	case s.src.adopt(f, v):
		return true
	default:
		size = -1 // there may be room later
	}
	if now.Sub(f.found) > wait {
		f.size = size
		f.close()
	}
	return false
}

// waits reports whether it may be known yet whose file it is. Before something was
// written its container had begun its program. So who is known by now, or waits for a
// name, is all who it can be.
func (f *follow) waits(v *view, now time.Time) bool {
	if f.filled.IsZero() {
		f.filled = now
	}
	return !v.at.After(f.filled) || v.unnamed && now.Sub(f.filled) <= wait
}

// take makes a file that of one reader, whoever else sees it.
func (s *Source) take(f *follow, id fileID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by := s.readers[id]; by != nil && by != f {
		return false
	}
	s.letGo(f)
	s.readers[id], f.took = f, id
	return true
}

// letGo forgets which file one reads. The lock is held.
func (s *Source) letGo(f *follow) {
	if s.readers[f.took] == f {
		delete(s.readers, f.took)
	}
}

// leave lets others read a file.
func (s *Source) leave(f *follow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGo(f)
}

// revive has a container that was forgotten be told of again.
func (s *Source) revive(b bpf.LogBox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	had := s.past[b]
	delete(s.past, b)
	return had
}

// is reports whether a container is the one that a file is told of by the runtime's id:
// its name was late. Lines keep that id, and whoever asks for the container has them.
func (s *Source) is(f *follow, c *child, v *view) bool {
	if c.first.After(f.latest) {
		return false // it was started again
	}
	s.mu.Lock()
	known := s.also[c.id] != ""
	s.mu.Unlock()
	if known {
		return true
	}
	s.o.Table.View(func(t *identity.Table, _ map[string]int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.also) > maxForgotten {
			clear(s.also)
		}
		s.also[c.id] = t.UnseenID(v.pidns, f.id)
	})
	return true
}

// Also returns the id by which the lines of a container are told whose name was late.
func (s *Source) Also(container string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.also[container]
}

// claim makes a container's file the only one that is told of it.
func (s *Source) claim(f *follow, b bpf.LogBox, l bpf.LogSelection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == 0 || s.claimed[b] != nil && s.claimed[b] != f {
		return false
	}
	s.claimed[b] = f
	s.resting[b] = false
	f.put(b, l)
	return true
}

// end lets go of a file of a sandbox that nobody reads any more.
func (s *Source) end(f *follow) {
	s.leave(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.resting, f.box) // nothing comes any more
	if s.claimed[f.box] == f {
		delete(s.claimed, f.box)
	}
}

// awaits says that a file was not read for long: its container may have written more.
func (s *Source) awaits(f *follow, now time.Time) {
	if now.Sub(f.turn) <= restAfter {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed[f.box] == f {
		s.resting[f.box] = false
	}
}

// again takes a file up that was let go, where it was left, so that nothing is told
// twice. If its container was forgotten, or another file is told of it by now, whose it
// is will be found anew.
func (s *Source) again(f *follow, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.found, f.seen = now, now
	if s.streams[f.box] == nil || s.claimed[f.box] != nil {
		f.put(bpf.LogBox{}, 0)
		return
	}
	s.claimed[f.box] = f
	s.resting[f.box] = false
}

// adopt makes a file that of a container that nobody knows: it came and went before it
// was named, or writes its last now. What its runtime says of it is read only if there
// is room: that can be megabytes.
func (s *Source) adopt(f *follow, v *view) bool {
	s.mu.Lock()
	room := s.room(v)
	s.mu.Unlock()
	if !room {
		return false
	}
	name := f.name()
	s.mu.Lock()
	if !s.room(v) { // others adopt, too
		s.mu.Unlock()
		return false
	}
	s.serial++
	box := bpf.LogBox{Start: s.serial}
	s.unseen[box] = Unseen{Parent: v.pidns, Name: name}
	s.mu.Unlock()
	f.adopted = s.claim(f, box, v.inside)
	return f.adopted
}

// name is what the runtime says of a container.
func (f *follow) name() identity.Name {
	name := identity.Name{Runtime: f.runtime, ID: f.id, Source: "log-file"}
	if r, ok := f.root.(*evidence.Root); ok {
		c, known, _ := r.Podman(f.id, nil)
		if !known {
			c, known, _ = r.Docker(f.id)
		}
		if known {
			name.Name, name.Image, name.Runtime = c.Name, c.Image, c.Runtime
		}
	}
	return name
}

// learn tells the table a name that it has not: it looks for names while a container
// lives, and some are gone before. What the runtime says is read when the container is
// found, and when it is gone.
func (s *Source) learn(f *follow, c *child) {
	if s.o.Learn == nil || c.named || c.box != f.box || f.asked > 1 || f.asked == 1 && !c.gone {
		return
	}
	f.asked++
	if name := f.name(); name.Name != "" {
		s.o.Learn(identity.NSKey{Inum: c.box.PIDNS, Gen: c.box.Start}, name)
	}
}

// room reports whether another container may be adopted. The lock is held.
func (s *Source) room(v *view) bool {
	of := 0
	for _, u := range s.unseen {
		if u.Parent == v.pidns {
			of++
		}
	}
	return len(s.unseen) < maxUnseen && of < maxUnseenOf
}
