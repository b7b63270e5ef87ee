package files

import (
	"context"
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
	wait        = 3 * time.Second // for whose file it is
	restAfter   = 2 * time.Second // after the end of a container its monitor may write on
	lastTurns   = 5 * time.Second // for what is left when the sandbox is gone
	maxRest     = time.Minute     // between searches
	keepRoot    = time.Minute     // that nobody has any more, unless there are too many
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
		s.search(&v, now, ended.IsZero())
		if !s.read(ctx, &v, now) || !ended.IsZero() && now.Sub(ended) > lastTurns {
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

// read reads what is new, and hands it over. false: nobody takes it any more.
func (s *sandbox) read(ctx context.Context, v *view, now time.Time) bool {
	if len(s.files) == 0 {
		return true
	}
	buf := s.src.bufs.Get().(*[maxLine]byte)
	defer s.src.bufs.Put(buf)
	for id, f := range s.files {
		before := f.file != nil
		// A sandbox can make any number of files.
		if !before && (s.held >= maxOpen || s.src.opened.Load() >= maxOpenAll) {
			continue
		}
		goes := s.one(ctx, v, f, buf[:], now)
		s.hold(before, f.file != nil)
		if !goes {
			return false
		}
		if f.file == nil && f.gone {
			s.src.leave(f) // its inode may be another file's by now
		}
		if f.file == nil && f.box == (bpf.LogBox{}) && (f.gone || now.Sub(f.seen) > time.Minute) {
			delete(s.files, id) // nobody's, and gone
			s.src.leave(f)
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

// one reads what is new in a file. false: nobody takes it any more.
func (s *sandbox) one(ctx context.Context, v *view, f *follow, buf []byte, now time.Time) bool {
	f.now = now
	if f.box == (bpf.LogBox{}) && !s.whose(v, f, now) {
		return true
	}
	if s.src.forgotten(f.box) { // it has ended; of what comes now it is found anew
		f.was = f.box
		f.put(bpf.LogBox{}, 0)
		f.found = now
		return true
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
	f.fill(now, s.src.o.Rate, s.src.o.Burst)
	for room := min(int(f.bucket), maxStep); room > 0; {
		n, err := f.step(now, buf, room, f)
		f.bucket -= float64(n)
		s.src.failed(err)
		if room -= n; !f.full() {
			break
		}
		if !s.src.send(ctx, f, false) {
			return false
		}
	}
	return s.src.send(ctx, f, f.bucket > 0 && f.rests(now, restAfter))
}
