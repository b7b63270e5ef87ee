package files

import (
	"time"

	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// place is a root, and the stores that are below it.
type place struct {
	root   *evidence.Root
	stores []*store
	had    time.Time // by a process that counts, last
}

type store struct {
	evidence.LogStore
	changed, listed time.Time
}

// search looks for files, and for roots and stores while the sandbox lives. How many
// there are is the sandbox's choice: it gets a tenth of a core for that.
func (s *sandbox) search(v *view, now time.Time, lives bool) {
	if now.Before(s.rests) {
		return
	}
	began := time.Now()
	if lives && now.Sub(s.stores) >= storesEvery {
		s.look(v, now)
	}
	s.list(now)
	s.rests = now.Add(rest(time.Since(began)))
}

// rest is how long to wait from the beginning of a search that took so long.
func rest(took time.Duration) time.Duration { return min(10*took, maxRest) }

// list looks for files in stores that changed.
func (s *sandbox) list(now time.Time) {
	for _, p := range s.roots {
		for _, st := range p.stores {
			changed, err := p.root.Changed(st.Dir)
			// Times of directories are coarse: soon after a change there may be another.
			if err != nil || changed.Equal(st.changed) && (now.Sub(changed) > time.Second || now.Before(changed)) && now.Sub(st.listed) < storesEvery {
				continue
			}
			st.changed, st.listed = changed, now
			all, err := p.root.LogFiles(st.LogStore, maxFollowed)
			if err != nil {
				continue
			}
			for _, x := range all {
				if f := s.files[x.ID]; f != nil {
					f.seen = now
					if f.root == root(nowhere{}) {
						f.root, f.path, f.parse = p.root, x.Path, parserOf(x.Format)
					}
				} else if len(s.files) < maxFollowed {
					s.files[x.ID] = &follow{
						tail:    tail{root: p.root, path: x.Path, parse: parserOf(x.Format), since: s.src.began},
						runtime: st.Runtime, id: x.ID, found: now, seen: now, clock: s.src.o.Clock,
					}
				}
			}
		}
	}
}
