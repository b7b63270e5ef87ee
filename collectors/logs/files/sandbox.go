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
	crowded bool      // it was said that there are too many roots
	forced  time.Time // a list, because of a new store
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
		if left := now.Sub(ended); !ended.IsZero() && left > lastTurns && (!s.late || left > 2*lastTurns) {
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

// ready opens what is to be read, and returns it: first what nobody has taken yet, then
// those whose turn is longest ago. soon: files that were not there yet are looked for
// again.
func (s *sandbox) ready(v *view, now time.Time, soon bool) (ready []*follow) {
	if soon {
		s.begin(now)
	}
	for id, f := range s.files {
		before := f.file != nil
		if !before && len(f.out) == 0 && (!f.begun || s.full()) {
			s.forget(id, f, now)
			continue
		}
		if s.whose(v, f, now) {
			ready = append(ready, f)
		}
		s.hold(before, f.file != nil)
		s.forget(id, f, now)
	}
	if s.late {
		slices.SortFunc(ready, func(a, b *follow) int {
			if a, b := len(a.out) > 0, len(b.out) > 0; a != b {
				if a {
					return -1
				}
				return 1
			}
			return a.turn.Compare(b.turn)
		})
	}
	return ready
}

// begin opens files that are new, before anything is asked of them: they may go soon.
func (s *sandbox) begin(now time.Time) {
	for _, f := range s.files {
		if f.begun || s.full() {
			continue
		}
		if f.found = now; f.gone {
			f.looked = time.Time{}
		}
		_, err := f.open(now)
		s.src.failed(err)
		s.hold(false, f.file != nil)
	}
}

// full reports whether no more files may be open: a sandbox can make any number.
func (s *sandbox) full() bool { return s.held >= maxOpen || s.src.opened.Load() >= maxOpenAll }

// forget forgets a file that is gone. One that was not there yet comes when its container
// is started: it is known for as long as it is listed.
func (s *sandbox) forget(id string, f *follow, now time.Time) {
	if f.file != nil || len(f.out) > 0 {
		return
	}
	if f.gone {
		s.src.leave(f) // its inode may be another file's by now
	}
	long := time.Minute
	if f.gone {
		long = 2 * storesEvery
	}
	if f.box == (bpf.LogBox{}) && (f.gone && f.begun || now.Sub(f.seen) > long) {
		delete(s.files, id)
		s.src.leave(f)
	}
}

// read reads what is new, for no longer than a turn, and hands it over: files that go
// soon do not wait for one in which there is much, nor for whoever takes it. What nobody
// has taken is of one file at most. false: nobody takes it any more.
func (s *sandbox) read(ctx context.Context, ready []*follow, now time.Time) bool {
	s.late = false
	if len(ready) == 0 {
		return true
	}
	buf := s.src.bufs.Get().(*[maxLine]byte)
	defer s.src.bufs.Put(buf)
	until := time.Now().Add(s.src.o.Every)
	for i, f := range ready {
		before := f.file != nil
		goes := s.one(ctx, f, buf[:], now, until)
		s.hold(before, f.file != nil)
		if !goes {
			return false
		}
		if s.late = len(f.out) > 0 || i < len(ready)-1 && time.Now().After(until); s.late {
			for _, f := range ready[i+1:] {
				s.src.awaits(f, now)
			}
			return true
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
	if f.box == (bpf.LogBox{}) && !s.finds(v, f, now) {
		return false
	}
	if len(f.out) == 0 && s.src.forgotten(f.box) { // it has ended; of what comes now it is found anew
		f.was = f.box
		f.put(bpf.LogBox{}, 0)
		f.found = now
		return false
	}
	if f.file == nil && !s.full() {
		_, err := f.open(now)
		s.src.failed(err)
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
	return true
}

// one reads what is new in a file, until its turn ends. false: nobody takes it any more.
func (s *sandbox) one(ctx context.Context, f *follow, buf []byte, now, until time.Time) bool {
	f.turn = now
	f.fill(now, s.src.o.Rate, s.src.o.Burst)
	room := min(int(f.bucket), maxStep)
	for room > 0 {
		n, err := f.step(now, buf, room, f)
		f.bucket -= float64(n)
		s.src.failed(err)
		if room -= n; !f.full() {
			break
		}
		if goes := s.src.send(ctx, f, until, false); !goes || len(f.out) > 0 {
			return goes
		}
		if time.Now().After(until) {
			return true
		}
	}
	rests := room > 0 && len(f.out) == 0 && f.rests(now, restAfter)
	return s.src.send(ctx, f, until, rests)
}

// flush hands over what nobody has taken yet. What is not read by now is dropped.
func (s *sandbox) flush(ctx context.Context) {
	for _, f := range s.files {
		if f.file != nil && f.box != (bpf.LogBox{}) {
			if info, err := f.file.Stat(); err == nil && info.Size() > f.pos {
				f.lost(info.Size() - f.pos)
				f.pos, f.skip = info.Size(), true
				f.remember(nil)
			}
		}
		if !s.src.send(ctx, f, time.Time{}, true) {
			return
		}
	}
}
