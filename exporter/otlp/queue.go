package otlp

import (
	"maps"
	"sync"
	"time"
)

// queue is the queue in memory, and the account of all.
type queue struct {
	limit int64
	every time.Duration
	wake  chan struct{} // there may be something to send
	half  chan struct{} // half of the queue is used

	mu    sync.Mutex
	lines []entry // the oldest first
	held  Count   // taken, but not accounted for yet: still of Memory
	read  Count   // the same of Disk
	s     Stats
	over  bool
}

func newQueue(o Options) *queue {
	return &queue{
		limit: o.QueueBytes, every: o.Every, wake: make(chan struct{}, 1), half: make(chan struct{}, 1),
		s: Stats{Dropped: map[Drop]Count{}},
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queue) wakeUp() { nudge(q.wake) }

func (q *queue) put(entries []entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	idle := len(q.lines) == 0
	for _, e := range entries {
		one := Count{1, e.size}
		q.s.Put.add(one)
		if q.over {
			q.count(one, DropShutdown)
			continue
		}
		q.lines = append(q.lines, e)
		q.s.Memory.add(one)
		q.trim()
	}
	if idle || q.fullBatch() {
		q.wakeUp()
	}
	if q.s.Memory.Bytes > q.limit/2 {
		nudge(q.half)
	}
}

// trim drops the oldest until the rest fits; the caller holds mu.
func (q *queue) trim() {
	for q.s.Memory.Bytes > q.limit && len(q.lines) > 0 {
		one := Count{1, q.lines[0].size}
		q.lines[0] = entry{} // the array outlives it
		q.lines = q.lines[1:]
		q.s.Memory.sub(one)
		q.count(one, DropFull)
	}
}

func (q *queue) count(c Count, why Drop) {
	sum := q.s.Dropped[why]
	sum.add(c)
	q.s.Dropped[why] = sum
}

func (q *queue) fullBatch() bool {
	return len(q.lines) >= maxRecords || q.s.Memory.Bytes-q.held.Bytes >= q.maxBatch()
}

// maxBatch leaves room for others in a small queue.
func (q *queue) maxBatch() int64 { return min(maxBytes, q.limit/4) }

// due is how long the oldest line may still wait for others; false: there is none.
func (q *queue) due(now time.Time) (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) == 0 {
		return 0, false
	}
	if q.fullBatch() {
		return 0, true
	}
	return max(q.every-now.Sub(q.lines[0].Seen), 0), true
}

// take takes the oldest lines. What is taken is accounted for by sent, drop,
// stored or back.
func (q *queue) take() (batch, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b, ok := q.takeLocked()
	q.held.add(b.Count)
	return b, ok
}

func (q *queue) takeLocked() (batch, bool) {
	n, size := 0, int64(0)
	for n < len(q.lines) && n < maxRecords {
		if size += q.lines[n].size; n > 0 && size > q.maxBatch() {
			break
		}
		n++
	}
	entries := make([]entry, n)
	copy(entries, q.lines)
	clear(q.lines[:n])
	if q.lines = q.lines[n:]; len(q.lines) == 0 {
		q.lines = nil
	}
	return newBatch(entries), n > 0
}

// back returns what was taken from memory to the queue's head; false: all is over.
func (q *queue) back(b batch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return false
	}
	q.held.sub(b.Count)
	q.lines = append(b.entries, q.lines...)
	q.trim()
	q.wakeUp() // who looked meanwhile saw an empty queue
	return true
}

// settle counts a batch as sent, but for the rejected part of it.
func (q *queue) settle(b batch, sent, rejected Count, why Drop) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(b)
	q.s.Sent.add(sent)
	if rejected.Records > 0 {
		q.count(rejected, why)
	}
}

// leave takes a batch out of where it was; the caller holds mu.
func (q *queue) leave(b batch) {
	if b.key != nil {
		q.s.Disk.sub(b.Count)
		q.read = Count{}
		return
	}
	q.held.sub(b.Count)
	q.s.Memory.sub(b.Count)
}

// stored counts a batch from memory as being on disk.
func (q *queue) stored(b batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(b)
	q.s.Disk.add(b.Count)
	q.wakeUp()
}

// pushed counts what had to leave the disk for newer lines.
func (q *queue) pushed(c Count) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.Records > 0 {
		q.s.Disk.sub(c)
		q.count(c, DropDiskFull)
	}
}

// restored counts what was found on disk.
func (q *queue) restored(c Count) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.s.Put.add(c)
	q.s.Disk.add(c)
}

// drop counts lines taken from memory as dropped.
func (q *queue) drop(c Count, why Drop) {
	q.settle(batch{Count: c}, Count{}, c, why)
}

// reading notes that a batch is taken from disk, where it stays meanwhile.
func (q *queue) reading(b batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.read = b.Count
}

// diskLost counts all that is on disk as dropped, but what is under way from it.
func (q *queue) diskLost() {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := q.s.Disk
	lost.sub(q.read)
	if lost.Records > 0 {
		q.count(lost, DropDisk)
	}
	q.s.Disk = q.read
}

// end takes all that is left, and has the queue drop what is put from now on.
func (q *queue) end() (all []batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	for b, ok := q.takeLocked(); ok; b, ok = q.takeLocked() {
		q.held.add(b.Count)
		all = append(all, b)
	}
	return all
}

func (q *queue) stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.s
	s.Dropped = maps.Clone(s.Dropped)
	return s
}
