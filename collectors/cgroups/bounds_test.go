package cgroups

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

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
