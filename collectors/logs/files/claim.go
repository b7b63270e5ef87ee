package files

import (
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

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
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.resting, f.box) // nothing comes any more
	if s.claimed[f.box] == f {
		delete(s.claimed, f.box)
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
	s.mu.Lock()
	if !s.room(v) { // others adopt, too
		s.mu.Unlock()
		return false
	}
	s.serial++
	box := bpf.LogBox{Start: s.serial}
	s.unseen[box] = Unseen{Parent: v.pidns, Name: name}
	s.mu.Unlock()
	return s.claim(f, box, v.inside)
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
