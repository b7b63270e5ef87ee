package cgroups

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// A scrape reads no more than it may, and the next one begins there; what it does not
// read is as it was read last, and what never was is counted.
func TestBounds(t *testing.T) {
	n := newNode()
	for i := uint32(1); i <= 5; i++ {
		n.put(i*10, uint64(i), i*10)
		n.have[fmt.Sprintf("/pod%d", i)] = used(1)
	}
	c := collector(n, Options{MaxReads: 2, MaxTime: time.Hour})
	for _, tc := range []struct {
		reads  []string
		unread float64
	}{{[]string{"/pod1", "/pod2"}, 3}, {[]string{"/pod3", "/pod4"}, 1}, {[]string{"/pod5", "/pod1"}, 0}, {[]string{"/pod2", "/pod3"}, 0}} {
		n.reads = nil
		if got := values(t, c, "eyas_cgroups_unread")[""]; got != tc.unread {
			t.Errorf("%v unread, want %v", got, tc.unread)
		}
		if d := cmp.Diff(tc.reads, n.reads, sorted()); d != "" {
			t.Errorf("read (-want +got):\n%s", d)
		}
	}
	if got := values(t, c, "eyas_cgroups_oldest_seconds")[""]; got <= 0 {
		t.Errorf("the oldest is %v s old", got)
	}
	n.die(10)
	delete(n.have, "/pod2")
	values(t, c, "")
	values(t, c, "")
	if _, dead := c.known[n.reads[0]]; dead || len(c.known) != 3 {
		t.Errorf("of three containers with cgroups this is known: %v", c.known)
	}
}

// What a scrape has no time for is read behind it, once at a time, and is there at the
// next one.
func TestReadBehind(t *testing.T) {
	n := newNode()
	for i := uint32(1); i <= 5; i++ {
		n.put(i*10, uint64(i), i*10)
		n.have[fmt.Sprintf("/pod%d", i)] = used(uint64(i))
	}
	c := collector(n, Options{MaxTime: time.Nanosecond, MaxBehind: time.Hour})
	hold := make(chan struct{})
	n.read = func() { <-hold }
	if got := values(t, c, "eyas_cgroups_unread")[""]; got != 5 {
		t.Errorf("%v unread in no time", got)
	}
	if got := values(t, c, "eyas_cgroups_unread")[""]; got != 5 {
		t.Errorf("%v unread while somebody reads", got)
	}
	close(hold)
	deadline := time.Now().Add(10 * time.Second)
	for values(t, c, "eyas_cgroups_unread")[""] > 0 {
		if time.Now().After(deadline) {
			t.Fatal("nobody reads on")
		}
		runtime.Gosched()
	}
	memory := 0.0
	for _, v := range values(t, c, "eyas_container_memory_bytes") {
		memory += v
	}
	if memory == 0 {
		t.Error("what was read is not told")
	}
	if got := values(t, c, "eyas_cgroups_oldest_seconds")[""]; got <= 0 {
		t.Errorf("the oldest is %v s old", got)
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
