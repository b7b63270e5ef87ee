package logs

import (
	"slices"
	"sync"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// overhead is about what a line takes besides its body.
const overhead = 300

// store keeps the latest lines of each stream of a container, in bytes, also of those
// that are gone; those to which nothing was written for longest go first. Safe for
// concurrent use.
type store struct {
	keep, all int // bytes, per stream and of all

	mu     sync.Mutex
	boxes  map[shelfKey]*shelf
	bytes  int
	last   uint64
	change chan struct{} // closed with the next line
}

type shelfKey struct {
	container string
	stream    identity.LogStream
}

type shelf struct {
	lines []kept
	bytes int
}

type kept struct {
	n    uint64 // counts all lines
	line identity.LogLine
}

func newStore(keep, all int) *store {
	return &store{keep: keep, all: all, boxes: map[shelfKey]*shelf{}, change: make(chan struct{})}
}

func cost(l *identity.LogLine) int { return len(l.Body) + overhead }

func (s *store) put(lines []identity.LogLine) {
	if len(lines) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range lines {
		key := shelfKey{lines[i].Container, lines[i].Stream}
		b := s.boxes[key]
		if b == nil {
			b = &shelf{}
			s.boxes[key] = b
		}
		s.last++
		b.lines = append(b.lines, kept{s.last, lines[i]})
		s.grow(b, cost(&lines[i]))
		drop := 0
		for b.bytes > s.keep && drop < len(b.lines)-1 {
			s.grow(b, -cost(&b.lines[drop].line))
			drop++
		}
		b.cut(drop)
	}
	for s.bytes > s.all && len(s.boxes) > 1 {
		s.evict()
	}
	close(s.change)
	s.change = make(chan struct{})
}

func (s *store) grow(b *shelf, n int) { b.bytes, s.bytes = b.bytes+n, s.bytes+n }

// cut forgets the oldest lines.
func (b *shelf) cut(n int) {
	clear(b.lines[:n])
	b.lines = b.lines[n:]
}

// evict forgets the stream that has been silent for longest.
func (s *store) evict() {
	var oldest shelfKey
	for k, b := range s.boxes {
		if s.boxes[oldest] == nil || b.lines[len(b.lines)-1].n < s.lastOf(oldest) {
			oldest = k
		}
	}
	s.bytes -= s.boxes[oldest].bytes
	delete(s.boxes, oldest)
}

func (s *store) lastOf(k shelfKey) uint64 {
	lines := s.boxes[k].lines
	return lines[len(lines)-1].n
}

// Query asks for lines of a container and of those inside it.
type Query struct {
	Container string             // id; "": of all
	Stream    identity.LogStream // "": both
	Since     time.Time
	After     uint64 // the number that an earlier answer ended with
	also      string // another id of the container, by which its file is told; "": none
}

// lines returns what a query asks for, by time, the number with which it ends, and
// what is closed when there is more.
func (s *store) lines(q Query) (found []identity.LogLine, last uint64, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []kept
	for _, b := range s.boxes {
		for _, k := range b.lines {
			if k.n > q.After && (q.Stream == "" || q.Stream == k.line.Stream) && !k.line.Time.Before(q.Since) && (k.line.About(q.Container) || q.also != "" && k.line.About(q.also)) {
				all = append(all, k)
			}
		}
	}
	slices.SortFunc(all, func(a, b kept) int {
		if c := a.line.Time.Compare(b.line.Time); c != 0 {
			return c
		}
		if a.n < b.n {
			return -1
		}
		return 1
	})
	for _, k := range all {
		found = append(found, k.line)
	}
	return found, s.last, s.change
}
