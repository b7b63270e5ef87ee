//go:build host

package otlp

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/otlp"
)

// A Collector that is down for a minute, while more is written than the queue takes:
// memory stays bounded, whoever writes never waits, and once it is back what was under
// way and the newest lines arrive, in order, and what was put is sent or dropped, to the
// byte.
func TestCollectorDownForAMinute(t *testing.T) {
	const (
		down  = time.Minute
		rate  = 2000 // lines a second
		queue = 16 << 20
		body  = 500
	)
	c := newCollector(t)
	c.start(t)
	o := ways(c)["grpc"]
	o.QueueBytes = queue
	e, stop := run(t, o)
	e.Put([]identity.LogLine{line(1)})
	until(t, "arrival", func() bool { return len(c.records(t)) == 1 })
	c.kill(t)

	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most := heap(), int64(0)
	var longest time.Duration
	text := []byte(strings.Repeat("x", body))
	n := 1
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i, began := 0, time.Now(); time.Since(began) < down; i++ {
		for range rate / 10 {
			n++
			l := line(n)
			l.Body = text
			at := time.Now()
			e.Put([]identity.LogLine{l})
			longest = max(longest, time.Since(at))
		}
		if i%50 == 49 {
			most = max(most, heap())
		}
		<-tick.C
	}
	if longest > 5*time.Second { // it would have waited for the minute, or for an attempt to end
		t.Errorf("a Put took %v", longest)
	}
	s := e.Stats()
	if s.Dropped[otlp.DropFull].Records == 0 || s.Memory.Records == 0 || s.Sent.Records != 1 {
		t.Errorf("while it is down: %+v", s)
	}
	c.start(t)
	until(t, "the queue is sent", func() bool { return e.Stats().Memory.Records == 0 })
	stop()
	c.stop(t)
	s = e.Stats()
	if s.Put.Records != int64(n) || s.Put.Records != s.Sent.Records+s.Dropped[otlp.DropFull].Records || s.Put.Bytes != s.Sent.Bytes+s.Dropped[otlp.DropFull].Bytes {
		t.Errorf("%+v", s)
	}
	all := c.records(t)
	if int64(len(all)) != s.Sent.Records {
		t.Fatalf("%d arrived, %d are said to be sent", len(all), s.Sent.Records)
	}
	// All but the batch that was under way when the receiver went are the newest.
	last, gaps := 1, 0
	for i, r := range all[1:] {
		seq, err := strconv.Atoi(plain(r.Attributes)["eyas.log.seq"].(string))
		if err != nil || seq <= last {
			t.Fatalf("record %d is line %d, after line %d: %v", i, seq, last, err)
		}
		if seq != last+1 {
			gaps++
		}
		last = seq
	}
	if last != n || gaps != 1 {
		t.Errorf("the last is line %d of %d, and lines are missing in %d places", last, n, gaps)
	}
	grew := most - before
	t.Logf("%d lines put in %v, %d sent, %d dropped; a queue of %d MiB took %d MiB of heap at most; the longest Put %v", n, down, s.Sent.Records, s.Dropped[otlp.DropFull].Records, queue>>20, grew>>20, longest)
	if grew > 2*queue {
		t.Errorf("the heap grew by %d MiB", grew>>20)
	}
}
