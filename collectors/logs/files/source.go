package files

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Table gives a view of the identity table, and brings it up to date.
type Table interface {
	View(f func(table *identity.Table, zombies map[string]int))
	Sync(ctx context.Context) error
}

// Options of a Source. Table, Clock and Proc must be given.
type Options struct {
	Table Table
	Clock identity.Clock
	Proc  string                                         // where procfs of the host is mounted
	Rate  float64                                        // bytes of a file to read each second; default 1 MiB
	Burst float64                                        // and at once, above that; default 4 MiB
	Every time.Duration                                  // between looks at a file; default 100 ms
	Learn func(pidns identity.NSKey, name identity.Name) // takes a name that the table lacks; may be nil
	Log   zerolog.Logger
}

// Bounds of all sandboxes.
const (
	maxSandboxes = 1024
	maxUnseen    = 4096
	maxUnseenOf  = 512 // in one sandbox
	maxOpenAll   = 4096
	maxForgotten = 4096
	viewEvery    = 500 * time.Millisecond
)

// Unseen is a container that only a runtime's file tells of.
type Unseen struct {
	Parent identity.NSKey // pid namespace of the sandbox; zero: the node
	Name   identity.Name
}

// Source is a logs.Source of files. Read belongs to one goroutine, all else is safe for
// concurrent use.
type Source struct {
	o       Options
	began   time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	out     chan []bpf.Log
	rest    []bpf.Log // that Read did not hand over
	viewed  time.Time
	synced  time.Time           // the table is as it was then, or later
	boxes   map[string]*sandbox // Read's
	errors  atomic.Uint64
	opened  atomic.Int64 // files
	many    atomic.Int64 // boxes
	bufs    sync.Pool    // of *[maxLine]byte

	mu      sync.Mutex // guards what follows
	all     bpf.LogSelection
	chosen  map[bpf.LogBox]bpf.LogSelection
	streams map[bpf.LogBox][]bpf.LogStream
	resting map[bpf.LogBox]bool
	past    map[bpf.LogBox]bool
	unseen  map[bpf.LogBox]Unseen
	claimed map[bpf.LogBox]*follow
	readers map[fileID]*follow // a file is read once, whoever can see it
	also    map[string]string  // of a container, the id that its file is told by
	serial  uint64
}

// New returns a Source that reads nothing yet.
func New(o Options) *Source {
	if o.Rate <= 0 {
		o.Rate = 1 << 20
	}
	if o.Burst <= 0 {
		o.Burst = 4 << 20
	}
	if o.Every <= 0 {
		o.Every = 100 * time.Millisecond
	}
	s := &Source{
		o: o, began: time.Now(), out: make(chan []bpf.Log, 16), boxes: map[string]*sandbox{},
		chosen: map[bpf.LogBox]bpf.LogSelection{}, streams: map[bpf.LogBox][]bpf.LogStream{}, resting: map[bpf.LogBox]bool{},
		past: map[bpf.LogBox]bool{}, unseen: map[bpf.LogBox]Unseen{}, claimed: map[bpf.LogBox]*follow{},
		readers: map[fileID]*follow{}, also: map[string]string{},
	}
	s.bufs.New = func() any { return new([maxLine]byte) }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Read hands over records until the deadline, or until f returns false. A closed
// Source yields os.ErrClosed.
func (s *Source) Read(deadline time.Time, f func(*bpf.Log) bool) error {
	if now := time.Now(); now.Sub(s.viewed) >= viewEvery {
		s.viewed = now
		s.view(now)
	}
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	for {
		for i := range s.rest {
			if !f(&s.rest[i]) {
				s.rest = s.rest[i+1:]
				return nil
			}
		}
		s.rest = nil
		select {
		case s.rest = <-s.out:
		case <-late.C:
			return nil
		case <-s.ctx.Done():
			return os.ErrClosed
		}
	}
}

// Close ends all reading. One that a sandbox holds up is left behind.
func (s *Source) Close() error {
	s.cancel()
	return nil
}

// Streams returns the counters of all streams.
func (s *Source) Streams() (map[bpf.LogBox][]bpf.LogStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[bpf.LogBox][]bpf.LogStream, len(s.streams))
	for b, rows := range s.streams {
		all[b] = rows // replaced, never changed
	}
	return all, nil
}

// Drained reports whether nothing of a container that is gone is left to be read.
func (s *Source) Drained(b bpf.LogBox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	rests, known := s.resting[b]
	return rests || !known
}

// Forget removes containers that are gone.
func (s *Source) Forget(gone map[bpf.LogBox]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.past) > maxForgotten {
		clear(s.past)
	}
	for b := range gone {
		if s.claimed[b] != nil {
			s.past[b] = true
		}
		s.drop(b)
	}
	return nil
}

func (s *Source) drop(b bpf.LogBox) {
	delete(s.streams, b)
	delete(s.resting, b)
	delete(s.unseen, b)
	delete(s.claimed, b)
}

// Unseen tells of a container that the table does not know.
func (s *Source) Unseen(b bpf.LogBox) (Unseen, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.unseen[b]
	return u, ok
}

func (s *Source) forgotten(b bpf.LogBox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.past[b]
}

// failed notes that a file could not be read.
func (s *Source) failed(err error) {
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.errors.Add(1)
		s.o.Log.Debug().Err(err).Msg("read a log file")
	}
}

// send hands over what was read of a file, if it is taken in time; no time: whenever it
// is. What is not is kept. false: the Source is closed.
func (s *Source) send(ctx context.Context, f *follow, until time.Time, rests bool) bool {
	if len(f.out) > 0 {
		s.tell(f, false) // nobody forgets it meanwhile
		sent, goes := s.hand(ctx, f.out, until)
		if !sent {
			return goes
		}
		f.out, f.bytes = nil, 0
	}
	s.tell(f, rests)
	return true
}

// tell says what was handed over of a file, and whether more may come.
func (s *Source) tell(f *follow, rests bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(f.out) == 0 {
		for _, l := range f.left {
			if s.claimed[l.box] == f { // it is not forgotten
				s.streams[l.box], s.resting[l.box] = l.streams, true
			}
		}
		f.left = nil
	}
	if f.box == (bpf.LogBox{}) || s.claimed[f.box] != f && s.past[f.box] {
		return
	}
	s.claimed[f.box], s.resting[f.box] = f, rests
	if len(f.out) == 0 {
		s.streams[f.box] = f.rows()
	}
}

// hand hands lines over. sent: they are taken; goes: the Source is not closed.
func (s *Source) hand(ctx context.Context, lines []bpf.Log, until time.Time) (sent, goes bool) {
	select {
	case s.out <- lines:
		return true, true
	default:
	}
	var late <-chan time.Time
	if !until.IsZero() {
		late = time.After(time.Until(until))
	}
	select {
	case s.out <- lines:
		return true, true
	case <-late:
		return false, true
	case <-ctx.Done():
		return false, false
	}
}
