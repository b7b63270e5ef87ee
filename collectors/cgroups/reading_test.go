package cgroups

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// many puts a sandbox with nested containers on a node; cgroup ids have no 0 there.
func many(n *node, nested uint32) {
	n.put(1, 1, 1)
	n.uses("/pod1", 1000)
	for i := range nested {
		path := string([]byte{'/', 'p', 'o', 'd', '1', '/', '1' + byte(i/9), '1' + byte(i%9)})
		n.put(100+i, 1000+uint64(11+10*(i/9)+i%9), 1, 100+i)
		n.uses(path, 1)
	}
}

const periods = "eyas_container_cpu_periods_total"

// run lets a collector read behind scrapes until the test ends.
func run(t *testing.T, c *Collector) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

// Few cgroups are read at each scrape. More are read behind each, which tells the
// last reading as a whole.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		many(n, few)
		c := collector(n, Options{})
		run(t, c)
		scrape := func(what string, want float64, age time.Duration, series, read int) {
			t.Helper()
			synctest.Wait()
			if got := n.readSince(); got != read {
				t.Errorf("%s: %d reads, want %d", what, got, read)
			}
			metrics := all(t, c)
			got := metrics[periods]
			if got[""] != want || len(got) != series {
				t.Errorf("%s: %v of %d, want %v of %d", what, got[""], len(got), want, series)
			}
			if s := metrics["eyas_cgroups_age_seconds"][""]; s != age.Seconds() {
				t.Errorf("%s: %v s old, want %s", what, s, age)
			}
		}
		const whole = few + 1
		scrape("the first", 1000, 0, whole, 0)
		n.uses("/pod1", 1001)
		<-time.After(30 * time.Second)
		scrape("the second", 1000, 30*time.Second, whole, whole)
		<-time.After(30 * time.Second)
		scrape("behind that", 1001, 29*time.Second, whole, whole)
		n.uses("/pod1", 1002)
		<-time.After(time.Second / 2)
		scrape("another Prometheus", 1001, 29*time.Second+time.Second/2, whole, 0)
		<-time.After(time.Second)
		scrape("a third", 1002, time.Second/2, whole, whole)
		<-time.After(time.Hour)
		n.uses("/pod1", 1003)
		scrape("after a pause", 1003, 0, whole, whole)

		// Now they are fewer, but may become more at once.
		n.readSince()
		n.die(100)
		<-time.After(30 * time.Second)
		scrape("fewer", 1003, 30*time.Second, whole-1, 0)
		<-time.After(30 * time.Second)
		n.uses("/pod1", 1004)
		scrape("not few enough", 1003, 29*time.Second, few, few)
		for i := range uint32(few / 2) {
			n.die(101 + i)
		}
		<-time.After(30 * time.Second)
		scrape("few", 1004, 0, few/2, few/2)
		n.uses("/pod1", 1005)
		scrape("at the scrape", 1005, 0, few/2, few/2)
	})
}

// Who is gone since the reading is not told, and what the reading did not have is
// told after the next.
func TestGoneSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		many(n, 60)
		c := collector(n, Options{})
		run(t, c)
		if got := values(t, c, periods); len(got) != 52 || got[Other] != 10 { // the outer one, 50, and the rest
			t.Fatalf("%d series: %v", len(got), got)
		}
		n.die(100)
		n.put(2, 2, 2)
		n.uses("/pod2", 5)
		if got := values(t, c, periods); len(got) != 51 || got[Other] != 10 {
			t.Errorf("%d series: %v", len(got), got)
		}
		<-time.After(11 * time.Second)
		if got := values(t, c, "eyas_container_memory_bytes"); len(got) != 51 || got[""] != 5 { // both outer ones have no nested label
			t.Errorf("%d series: %v", len(got), got)
		}
		n.die(2)
		for i := range uint32(60) {
			n.die(100 + i)
		}
		n.die(1)
		if got := values(t, c, periods); len(got) != 0 {
			t.Errorf("of the dead: %v", got)
		}
	})
}

// Readings that are slow go behind scrapes, and take a small part of the time; a
// single slow one does not.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		many(n, 10)
		var slow atomic.Int64
		n.read = func() { <-time.After(time.Duration(slow.Load())) }
		c := collector(n, Options{})
		began := time.Now()
		c.cpu = func() time.Duration { return time.Since(began) / 2 }
		run(t, c)
		wait := func() time.Duration { start := time.Now(); values(t, c, ""); return time.Since(start) }
		const took = 1100 * time.Millisecond // of 11 cgroups
		for i, step := range []struct{ slow, wait time.Duration }{{0, 0}, {took, took}, {0, 0}, {took, took}, {took, took}, {took, 0}} {
			slow.Store(int64(step.slow / 11))
			if got := wait(); got != step.wait {
				t.Errorf("%d: waits %s, want %s", i, got, step.wait)
			}
		}
		<-time.After(time.Minute)
		n.readSince()
		for range 200 {
			if got := wait(); got > 0 {
				t.Errorf("waits %s", got)
			}
			<-time.After(time.Second)
		}
		if got := n.readSince() / 11; got < 15 || got > 17 { // one in 20 times 0.55 s, and what it takes itself
			t.Errorf("%d readings of %s in 200 s", got, took)
		}
	})
}

// One that hangs is waited for once, said once with what it reads, and its age tells;
// and Run ends.
func TestHangs(t *testing.T) {
	for _, first := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			n := newNode()
			many(n, 10)
			hang := make(chan struct{})
			var hangs atomic.Bool
			hangs.Store(first)
			n.read = func() {
				if hangs.Load() {
					<-hang
				}
			}
			c := collector(n, Options{Log: zerolog.New(&log)})
			run(t, c)
			if !first {
				values(t, c, "")
				hangs.Store(true)
				<-time.After(time.Hour)
			}
			for _, want := range []time.Duration{patience, 0, 0} {
				start := time.Now()
				metrics := all(t, c)
				if d := time.Since(start); d != want {
					t.Errorf("a scrape waits %s, want %s", d, want)
				}
				age := metrics["eyas_cgroups_age_seconds"][""]
				if first && age != 2 || !first && age != 3602 || len(metrics[periods]) > 0 {
					t.Errorf("%v s old: %v", age, metrics[periods])
				}
			}
			if strings.Count(log.String(), "is not read") != 1 || !strings.Contains(log.String(), `"cgroup":"/pod1"`) {
				t.Error(log.String())
			}
			ctx, stop := context.WithCancel(t.Context())
			stop()
			c.wake <- struct{}{}
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
			close(hang)
			synctest.Wait()
			if got := all(t, c); got["eyas_cgroups_age_seconds"][""] != 0 || len(got[periods]) != 11 {
				t.Errorf("after it went on: %v", got)
			}
		})
	}
}

// A mistake in reading costs the series, and not the agent.
func TestPanic(t *testing.T) {
	n := newNode()
	many(n, 3)
	c := collector(n, Options{})
	n.read = func() { panic("a mistake") }
	if got := values(t, c, periods); len(got) != 0 {
		t.Error(got)
	}
	n.read = nil
	if got := values(t, c, periods); len(got) != 4 {
		t.Error(got)
	}
}
