package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/history"
	"github.com/eyas-agent/eyas/collectors/identity"
)

var epoch = time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// node is a kubelet's directory, a history on disk, and a clock.
type node struct {
	root
	now  time.Time
	file string
	log  strings.Builder
}

func newNode(t testing.TB) *node {
	return &node{root: newRoot(t), now: at(0), file: filepath.Join(t.TempDir(), "h.db")}
}

// agent is a run of the agent; the test ends what it began.
func (n *node) agent(boot string) (*Watcher, *history.Store) {
	n.t.Helper()
	clock := func() time.Time { return n.now }
	s, err := history.Open(history.Options{Path: n.file, Boot: boot, Now: clock, Log: zerolog.Nop()})
	n.must(err)
	n.t.Cleanup(func() { s.Close() })
	w, err := New(Options{Root: n.dir, Boot: boot, Memory: s, Now: clock, Log: zerolog.New(&n.log)})
	n.must(err)
	return w, s
}

// flush puts on disk what Run of the history would within half a second, and
// then ends it, as kill -9 does: nothing is written after.
func (n *node) flush(s *history.Store) {
	n.t.Helper()
	n.must(s.Close())
}

func (n *node) pods(w *Watcher) []identity.PodRecord {
	n.t.Helper()
	all, err := w.Pods()
	n.must(err)
	return all
}

func life(pod string, host uint32, boot string, first, last int, goneBy ...int) identity.PodRecord {
	one := []identity.Extent{{Host: host, Count: 65536}}
	r := identity.PodRecord{Pod: pod, UIDs: one, GIDs: one, Boot: boot, First: at(first), Last: at(last)}
	if len(goneBy) > 0 {
		r.Gone, r.GoneBy = true, at(goneBy[0])
	}
	return r
}

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

type lives = []identity.PodRecord

// A pod is known from when kubelet wrote its record; when it is gone, it went
// between two scans. Who gets the range next stands before it.
func TestWatch(t *testing.T) {
	n := newNode(t)
	w, _ := n.agent("b1")
	n.write(podA, record(65536), at(-5))
	n.write("static", record(131072), at(-3))
	n.now = at(2)
	same(t, "live", lives{life("static", 131072, "b1", -3, 2), life(podA, 65536, "b1", -5, 2)}, n.pods(w))
	n.now = at(4)
	w.scan()
	n.remove(podA)
	n.write(podB, record(65536), at(5))
	n.write("static", record(196608), at(5)) // it has its uid for good
	n.now = at(6)
	want := lives{life(podB, 65536, "b1", 5, 6), life("static", 196608, "b1", 5, 6), life("static", 131072, "b1", -3, 4, 6), life(podA, 65536, "b1", -5, 4, 6)}
	same(t, "gone, and taken by another", want, n.pods(w))
	n.must(os.RemoveAll(filepath.Join(n.dir, "pods")))
	n.now = at(8)
	w.scan()
	for _, r := range n.pods(w) {
		if !r.Gone {
			t.Errorf("without a directory: %+v", r)
		}
	}
}

// A kill loses nothing that was flushed. Who is still there lives on; who went
// meanwhile went between the last scan on record and the first one after.
func TestRestart(t *testing.T) {
	n := newNode(t)
	w, s := n.agent("b1")
	n.write(podA, record(65536), at(-5))
	n.write(podB, record(131072), at(-4))
	w.scan()
	n.now = at(9)
	w.scan() // not noted: the last note is younger than noteEvery
	n.now = at(11)
	w.scan()
	n.now = at(15)
	w.scan()
	n.flush(s)

	n.remove(podA)
	n.write("late", record(65536), at(20))
	n.now = at(30)
	w, s = n.agent("b1")
	want := lives{life("late", 65536, "b1", 20, 30), life(podB, 131072, "b1", -4, 30), life(podA, 65536, "b1", -5, 11, 30)}
	same(t, "in the same boot", want, n.pods(w))
	n.flush(s)

	n.remove("late")
	n.now = at(50)
	w, s = n.agent("b2")
	want = lives{life("late", 65536, "b1", 20, 30, 50), life(podB, 131072, "b2", -4, 50), life(podA, 65536, "b1", -5, 11, 30)}
	same(t, "after a reboot", want, n.pods(w))
	n.flush(s)

	n.now = at(60)
	w, _ = n.agent("b2")
	want[1].Last = at(60)
	same(t, "once more", want, n.pods(w))
}

// scans counts scans by the notes they leave.
type scans struct {
	forgetful
	put chan identity.PodRecord
}

func (s scans) Pods(func(identity.PodRecord)) error { return nil }
func (s scans) PutPod(r identity.PodRecord)         { s.put <- r }

// Run looks every two seconds, sooner when asked, and not more often than
// scanGap however often it is asked.
func TestRun(t *testing.T) {
	r := newRoot(t)
	synctest.Test(t, func(t *testing.T) {
		s := scans{put: make(chan identity.PodRecord, 99)}
		w, err := New(Options{Root: r.dir, Memory: s, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		met := func(after time.Duration, ask bool) {
			t.Helper()
			synctest.Wait()
			start := time.Now()
			r.write(fmt.Sprint("p", start.UnixNano()), record(65536), start)
			if ask {
				for range 9 {
					w.Nudge()
				}
			}
			if got := (<-s.put).Last.Sub(start); got != after {
				t.Errorf("met after %s, want %s", got, after)
			}
		}
		met(scanEvery, false)
		met(scanGap, true)
		met(scanEvery-scanGap, false) // the ticker's own time
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkScan measures a scan of a full node, all of whose pods have ids of
// their own.
func BenchmarkScan(b *testing.B) {
	for _, pods := range []int{110, 1000} {
		b.Run(fmt.Sprint(pods), func(b *testing.B) {
			n := newNode(b)
			w, _ := n.agent("b1")
			for i := range pods {
				n.write(fmt.Sprint("pod-", i), record(uint32(i+1)<<16), at(0))
			}
			for b.Loop() {
				w.scan()
			}
		})
	}
}
