package files

import (
	"time"

	"github.com/eyas-agent/eyas/bpf"
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
