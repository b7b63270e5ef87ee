package cgroups

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// A scrape reads no more than it may, counts what it left, and the next one
// begins there.
func TestBounds(t *testing.T) {
	n := newNode()
	for i := uint32(1); i <= 5; i++ {
		n.put(i*10, uint64(i), i*10)
		n.have[fmt.Sprintf("/pod%d", i)] = used(1)
	}
	c := collector(n, Options{MaxReads: 2})
	for _, want := range [][]string{{"/pod1", "/pod2"}, {"/pod3", "/pod4"}, {"/pod5", "/pod1"}} {
		n.reads = nil
		if got := values(t, c, "eyas_cgroups_unread"); got[""] != 3 {
			t.Errorf("unread: %v", got)
		}
		if d := cmp.Diff(want, n.reads, sorted()); d != "" {
			t.Errorf("read (-want +got):\n%s", d)
		}
	}
	n.reads, n.read = nil, nil
	c = collector(n, Options{MaxTime: time.Nanosecond})
	done := make(chan struct{})
	n.read = func() { <-done }
	close(done)
	if got := values(t, c, "eyas_cgroups_unread")[""]; got < 4 {
		t.Errorf("%v unread after the time is over", got)
	}
}

// What controllers are missing is said once.
func TestMissingControllers(t *testing.T) {
	var log strings.Builder
	n := newNode()
	c := collector(n, Options{Log: zerolog.New(&log)})
	values(t, c, "")
	values(t, c, "")
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), `["memory","io","pids"]`) {
		t.Error(log.String())
	}
}

// Who is folded inside another folded one stays so when a place becomes free: its
// numbers are in the remainder already.
func TestFoldedInsideStays(t *testing.T) {
	n := newNode()
	n.put(10, 1, 10)
	n.put(20, 102, 10, 20)
	n.put(30, 103, 10, 30)
	n.put(40, 10304, 10, 30, 40)
	for path, v := range map[string]uint64{"/pod1": 100, "/pod1/2": 1, "/pod1/3": 10, "/pod1/3/4": 9} {
		n.have[path] = used(v)
	}
	c := collector(n, Options{MaxNested: 1})
	values(t, c, "")
	n.die(20)
	if d := cmp.Diff(map[string]float64{"": 100, Other: 10}, values(t, c, "eyas_container_memory_bytes")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
