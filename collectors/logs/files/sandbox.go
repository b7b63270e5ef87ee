package files

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/eyas-agent/eyas/bpf"
)

// Bounds and times of one sandbox.
const (
	maxRoots    = 8
	maxFollowed = 4096
	maxOpen     = 256       // files at once
	maxStep     = 1 << 20   // bytes of one file in one turn
	maxBatch    = 256 << 10 // bytes of memory, about, that are handed over at once
	overhead    = 300       // what a record takes besides its text
	storesEvery = 2 * time.Second
	wait        = 3 * time.Second  // for whose file it is
	restAfter   = 2 * time.Second  // after the end of a container its monitor may write on
	lastTurns   = 5 * time.Second  // for what is left when the sandbox is gone
	maxRest     = time.Minute      // between searches
	maxPause    = 10 * time.Second // between those for stores, though there are many sandboxes
	keepRoot    = time.Minute      // that nobody has any more, unless there are too many
)

// sandbox is what is read below the roots of one sandbox. All but view belongs to the
// goroutine of run.
type sandbox struct {
	src    *Source
	key    string // its id, "" of the node
	cancel context.CancelFunc

	mu sync.Mutex
	v  view
	// ended: it is gone, and what is left is to be read.
	ended time.Time
	done  bool // run returned, and files are the next one's

	roots   map[string]*place // by mount namespace
	outside map[fileID]bool   // roots of what is around it
	files   map[string]*follow
	stores  time.Time // looked for
	looks   time.Time // no root and no store is looked for before
	listed  time.Time // and no file
	held    int       // files that are open
	late    bool      // the last turn ended before all had been read
	full    bool      // it was said that there are too many roots
}

// set says what is known by now. false: nobody reads it any more.
func (s *sandbox) set(v view) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.v, s.ended = v, time.Time{}
	}
	return !s.done
}

// end says that it is gone, and returns since when.
func (s *sandbox) end(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.IsZero() {
		s.ended = now
	}
	return s.ended
}

func (s *sandbox) run(ctx context.Context) {
	defer s.close()
	tick := time.NewTicker(s.src.o.Every)
	defer tick.Stop()
	for {
		now := time.Now()
		s.mu.Lock()
		v, ended := s.v, s.ended
		s.mu.Unlock()
		if !s.read(ctx, s.search(&v, now, ended.IsZero()), now) {
			return
		}
		if !ended.IsZero() && now.Sub(ended) > lastTurns {
			s.flush(ctx)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// close lets go of all but what is known of files.
func (s *sandbox) close() {
	for _, f := range s.files {
		f.close()
		f.root = nowhere{}
		s.src.end(f)
	}
	s.src.opened.Add(int64(-s.held))
	for _, p := range s.roots {
		_ = p.root.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
}

// ready opens what is to be read, and returns it, those first whose turn is longest ago.
// soon: files that were not there yet are looked for again.
func (s *sandbox) ready(v *view, now time.Time, soon bool) (ready []*follow) {
	for id, f := range s.files {
		before := f.file != nil
		// A sandbox can make any number of files.
		if !before && (s.held >= maxOpen || s.src.opened.Load() >= maxOpenAll) {
			continue
		}
		if f.begun || soon {
			if s.whose(v, f, now) {
				ready = append(ready, f)
			}
			s.hold(before, f.file != nil)
		}
		if f.file != nil || !f.gone && now.Sub(f.seen) <= time.Minute {
			continue
		}
		if f.gone {
			s.src.leave(f) // its inode may be another file's by now
		}
		// One that was not there yet comes when its container is started: it is known for
		// as long as it is listed.
		if f.box == (bpf.LogBox{}) && (f.begun || now.Sub(f.seen) > 2*storesEvery) {
			delete(s.files, id) // nobody's, and gone
			s.src.leave(f)
		}
	}
	if s.late {
		slices.SortFunc(ready, func(a, b *follow) int { return a.turn.Compare(b.turn) })
	}
	return ready
}

// read reads what is new, for no longer than a turn, and hands it over: files that go
// soon do not wait for one in which there is much, nor for whoever takes it. false:
// nobody takes it any more.
func (s *sandbox) read(ctx context.Context, ready []*follow, now time.Time) bool {
	s.late = false
	if len(ready) == 0 {
		return true
	}
	buf := s.src.bufs.Get().(*[maxLine]byte)
	defer s.src.bufs.Put(buf)
	until := now.Add(s.src.o.Every)
	for i, f := range ready {
		if s.late = i > 0 && time.Now().After(until); s.late {
			for _, f := range ready[i:] {
				s.src.awaits(f, now)
			}
			return true
		}
		before := f.file != nil
		goes := s.one(ctx, f, buf[:], now, until)
		s.hold(before, f.file != nil)
		if !goes {
			return false
		}
	}
	return true
}

// hold counts the files that are open.
func (s *sandbox) hold(before, after bool) {
	switch {
	case after && !before:
		s.held++
		s.src.opened.Add(1)
	case before && !after:
		s.held--
		s.src.opened.Add(-1)
	}
}

// whose reports whether it is known whose file it is, and opens it.
func (s *sandbox) whose(v *view, f *follow, now time.Time) bool {
	f.now = now
	if !f.begun {
		f.found, f.looked = now, time.Time{}
	}
	if f.box == (bpf.LogBox{}) && !s.finds(v, f, now) {
		return false
	}
	if s.src.forgotten(f.box) { // it has ended; of what comes now it is found anew
		f.was = f.box
		f.put(bpf.LogBox{}, 0)
		f.found = now
		return false
	}
	switch found, next := v.find(f.id, s.src.forgotten); {
	case f.adopted && found != nil && s.src.is(f, found, v):
	case f.adopted && found != nil:
		f.next = found
	case next != nil && next.box != f.box:
		f.next = next
	case found != nil:
		s.src.learn(f, found)
	}
	if f.file == nil {
		_, err := f.open(now)
		s.src.failed(err)
	}
	return true
}

// one reads what is new in a file, until its turn ends. false: nobody takes it any more.
func (s *sandbox) one(ctx context.Context, f *follow, buf []byte, now, until time.Time) bool {
	f.turn = now
	f.fill(now, s.src.o.Rate, s.src.o.Burst)
	for room := min(int(f.bucket), maxStep); room > 0; {
		n, err := f.step(now, buf, room, f)
		f.bucket -= float64(n)
		s.src.failed(err)
		if room -= n; !f.full() {
			break
		}
		if sent, goes := s.src.send(ctx, f, until, false); !sent {
			return goes
		}
		if time.Now().After(until) {
			return true
		}
	}
	_, goes := s.src.send(ctx, f, until, f.bucket > 0 && f.rests(now, restAfter))
	return goes
}

// flush hands over what nobody has taken yet.
func (s *sandbox) flush(ctx context.Context) {
	for _, f := range s.files {
		if len(f.out) == 0 {
			continue
		}
		if _, goes := s.src.send(ctx, f, time.Time{}, true); !goes {
			return
		}
	}
}
