package files

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// place is a root, and the stores that are below it.
type place struct {
	root   *evidence.Root
	id     fileID // of the root
	by     int    // host pid of whose root it is
	own    bool   // it is not what is around the sandbox, too
	stores []*store
	had    time.Time // by a process that counts, last
}

type store struct {
	evidence.LogStore
	changed, listed time.Time
}

// search looks for files, and for roots and stores while the sandbox lives, and returns
// what is to be read. How much there is is the sandbox's choice: it gets a tenth of a
// core for each of both. What a search waits for others, on a busy machine, is not its
// own, and files that go soon do not wait for stores.
func (s *sandbox) search(v *view, now time.Time, lives bool) (ready []*follow) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if now.Sub(s.listed) >= 0 {
		used := threadTime()
		s.list(now)
		ready = s.ready(v, now, true)
		s.listed = now.Add(rest(threadTime() - used))
	} else {
		ready = s.ready(v, now, false)
	}
	if lives && now.Sub(s.looks) >= 0 {
		used := threadTime()
		if s.look(v, now) && now.Sub(s.forced) >= storesEvery {
			s.listed, s.forced = now, now // there is more to list
		}
		s.looks = now.Add(s.src.pause(threadTime() - used))
	}
	return ready
}

// rest is how long to wait from the beginning of a search that used so much of a core.
func rest(used time.Duration) time.Duration { return min(10*used, maxRest) }

// pause is how long to wait from the beginning of a search for stores. The first one of a
// sandbox is soon needed, so it is short while there are few sandboxes: all of them get
// a twentieth of a core.
func (s *Source) pause(used time.Duration) time.Duration {
	return max(rest(used), min(20*used*time.Duration(s.many.Load()), maxPause))
}

// threadTime is how long this thread has run.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0 // cannot fail with a valid clock id and pointer
	}
	return time.Duration(t.Nano())
}

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
					f.seen, f.own = now, f.own || p.own
					if f.root == root(nowhere{}) || !f.begun && f.path != x.Path && p.has(x.Path) {
						f.root, f.path, f.parse, f.runtime = p.root, x.Path, parserOf(x.Format), st.Runtime
					}
				} else if len(s.files) < maxFollowed || s.evict() {
					f := &follow{
						tail:    tail{root: p.root, path: x.Path, parse: parserOf(x.Format), since: s.src.began},
						runtime: st.Runtime, id: x.ID, found: now, seen: now, own: p.own, clock: s.src.o.Clock,
					}
					f.mine = func(id fileID) bool { return f.box == (bpf.LogBox{}) || s.src.take(f, id) }
					s.files[x.ID] = f
				}
			}
		}
	}
}

// has reports whether there is a file. A runtime that keeps its logs elsewhere may have a
// directory for it nevertheless.
func (p *place) has(path string) bool {
	_, err := p.root.Stat(path)
	return err == nil
}

// evict forgets a file that is not there yet, for one that may be. false: there is none.
func (s *sandbox) evict() bool {
	for id, f := range s.files {
		if !f.begun && f.gone && f.box == (bpf.LogBox{}) {
			delete(s.files, id)
			return true
		}
	}
	return false
}
