package otlp

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Put neither waits for a receiver that hangs nor keeps more than the queue may.
func TestPutNeverBlocks(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		r := newReceiver(t, protocol, func(int) reply { return reply{hang: true} }).start(t)
		o := options(r)
		o.QueueBytes, o.Timeout, o.Drain = 4<<20, time.Hour, time.Millisecond
		e, stop := run(t, o)
		e.Put(lines("x"))
		until(t, "a request", func() bool { return r.requests() > 0 })
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		text := strings.Repeat("y", 8<<10)
		for range 400 { // 32 MiB
			e.Put(lines(text, text, text, text, text, text, text, text, text, text))
			if s := e.Stats(); s.Memory.Bytes > o.QueueBytes {
				t.Fatalf("%+v", s)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 2*o.QueueBytes {
			t.Errorf("%d bytes are kept in a queue of %d", n, o.QueueBytes)
		}
		s := e.Stats()
		balanced(t, s)
		if s.Put.Records != 4001 || s.Memory.Bytes < o.QueueBytes/2 || s.Dropped[DropFull].Records < 3000 {
			t.Errorf("%+v", s)
		}
		stop()
	})
}

// The newest lines stay.
func TestOldestIsDropped(t *testing.T) {
	r := newReceiver(t, GRPC, nil)
	r.start(t)
	r.close()
	o := options(r)
	o.QueueBytes, o.Every = minQueueBytes, time.Hour
	e, stop := run(t, o)
	const n = 5000
	e.Put(lines(numbered(0, 1)...))
	e.q.wakeUp()
	for i := range n / 10 {
		e.Put(lines(numbered(i*10, i*10+10)...))
	}
	s := e.Stats()
	if s.Dropped[DropFull].Records == 0 {
		t.Fatalf("%+v", s)
	}
	r.start(t)
	stop()
	got := r.bodies()
	last := e.Stats().Sent.Records
	if int64(len(got)) != last || last < 100 {
		t.Fatalf("%d arrived, %d are said to be sent", len(got), last)
	}
	tail := got[len(got)-100:]
	if d := cmp.Diff(numbered(n-100, n), tail); d != "" {
		t.Error(d)
	}
}

// What a caller does with its buffer afterwards does not matter.
func TestPutCopies(t *testing.T) {
	r := newReceiver(t, GRPC, nil).start(t)
	o := options(r)
	o.Every = time.Hour
	e, stop := run(t, o)
	l := lines("kept")
	e.Put(l)
	copy(l[0].Body, "lost")
	l[0] = identity.LogLine{}
	stop()
	if d := cmp.Diff([]string{"kept"}, r.bodies()); d != "" {
		t.Error(d)
	}
}

// Lines that come one by one are sent together, and do not wait for long.
func TestBatches(t *testing.T) {
	r := newReceiver(t, GRPC, nil).start(t)
	o := options(r)
	o.Every = 500 * time.Millisecond
	e, _ := run(t, o)
	start := time.Now()
	for _, s := range numbered(0, 50) {
		e.Put(lines(s))
	}
	until(t, "arrival", func() bool { return len(r.bodies()) == 50 })
	if d := time.Since(start); d < o.Every || r.requests() > 3 {
		t.Errorf("%d requests after %s", r.requests(), d)
	}
	e.Put(lines(numbered(0, maxRecords)...)) // a full batch does not wait
	for _, b := range []int{1, maxRecords - 1, maxRecords + 1} {
		q := newQueue(Options{QueueBytes: 16 << 20, Every: time.Hour})
		q.put(newEntries(lines(numbered(0, b)...), time.Now()))
		if wait, some := q.due(time.Now()); !some || (wait == 0) != (b >= maxRecords) {
			t.Errorf("%d lines wait %s", b, wait)
		}
	}
	q := newQueue(Options{QueueBytes: 16 << 20})
	for range 20 {
		q.put(newEntries(lines(strings.Repeat("x", 100<<10)), time.Now()))
	}
	for b, ok := q.take(); ok; b, ok = q.take() {
		if b.Bytes > maxBytes {
			t.Errorf("a batch of %d bytes", b.Bytes)
		}
	}
}

// What comes back is seen by who waits, without another line.
func TestBackWakes(t *testing.T) {
	q := newQueue(Options{QueueBytes: 16 << 20})
	q.put(newEntries(lines("x"), time.Now()))
	<-q.wake
	b, _ := q.take()
	if _, some := q.due(time.Now()); some {
		t.Fatal("it is still there")
	}
	q.back(b)
	select {
	case <-q.wake:
	default:
		t.Error("nobody is woken")
	}
}
