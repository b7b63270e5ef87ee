package history

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// sizes counts the keys of every bucket.
func sizes(t *testing.T, s *Store) map[string]int {
	t.Helper()
	n := map[string]int{}
	err := s.view(func(tx *bolt.Tx) error {
		for _, b := range buckets() {
			n[string(b)] = tx.Bucket(b).Stats().KeyN
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPruneAge(t *testing.T) {
	now := at(100)
	s := begin(t, Options{Path: path(t), MaxAge: 50 * time.Second, Now: func() time.Time { return now }})
	const n = 5000 // more than a step forgets
	for pid := identity.HostPID(1); pid <= n; pid++ {
		s.PutProcess(dead(process(pid, 1, "old", 1), 10))
	}
	s.PutProcess(dead(process(9001, 1, "c", 1), 49))
	s.PutProcess(dead(process(9002, 1, "c", 2), 50))
	s.PutProcess(process(9003, 1, "c", 3))
	s.PutContainer(container("old", "", 1, 10, true))
	s.PutContainer(container("c", "", 1, 10, false))
	old, space := userNS(8, 1), userNS(7, 1)
	old.Gone = true
	s.PutUserNS(old)
	s.PutUserNS(space)
	flushed(t, s)
	prune := func() {
		t.Helper()
		if err := s.pruneAge(); err != nil {
			t.Fatal(err)
		}
	}
	prune()
	same(t, "what is left", map[string]int{
		"meta": 3, "boots": 1, "processes": 2, "live": 1, "by-time": 1, "inside": 2, "objects": 2, "objects-by-time": 0,
	}, sizes(t, s))
	same(t, "pruned", uint64(n+1+2), s.Stats().PrunedAge)
	same(t, "just young enough", 1, len(processes(t, s, 9002, 9)))

	now = at(1 << 20)
	prune()
	same(t, "only the living are left", map[string]int{
		"meta": 3, "boots": 1, "processes": 1, "live": 1, "by-time": 0, "inside": 1, "objects": 2, "objects-by-time": 0,
	}, sizes(t, s))
}

// What a record was before, another container, another time of death, or
// dead, neither keeps it nor takes it away, and leaves nothing behind.
func TestPruneChanged(t *testing.T) {
	s := begin(t, Options{Path: path(t), MaxAge: 50 * time.Second, Now: func() time.Time { return at(100) }})
	put := func(records ...identity.ProcessRecord) {
		for _, r := range records {
			s.PutProcess(r)
			flushed(t, s)
		}
	}
	moved := process(1, 1, "b", 1, 2)
	put(process(1, 1, "a", 1), moved)
	same(t, "moved away", []identity.ProcessRecord(nil), inner(t, s, []string{"a"}, 1, 1))
	same(t, "moved here", []identity.ProcessRecord{moved}, inner(t, s, []string{"a", "b"}, 2, 2))
	put(dead(moved, 10))

	late := dead(process(2, 1, "c", 1), 60)
	put(dead(process(2, 1, "c", 1), 10), late)
	risen := process(3, 1, "c", 2)
	risen.Last = at(10) // as when it was taken for dead
	put(dead(process(3, 1, "c", 2), 10), risen)
	for _, gone := range []bool{true, false} {
		s.PutContainer(container("risen", "", 1, 10, gone))
		flushed(t, s)
	}

	if err := s.pruneAge(); err != nil {
		t.Fatal(err)
	}
	same(t, "died later", []identity.ProcessRecord{late}, processes(t, s, 2, 9))
	same(t, "lives after all", []identity.ProcessRecord{risen}, processes(t, s, 3, 9))
	if _, ok := s.Container("risen"); !ok {
		t.Error("a live container was forgotten")
	}
	same(t, "what is left", map[string]int{
		"meta": 3, "boots": 1, "processes": 2, "live": 1, "by-time": 1, "inside": 2, "objects": 1, "objects-by-time": 0,
	}, sizes(t, s))
}

// The file stays below its bound; the longest dead make room, the living stay.
func TestPruneBytes(t *testing.T) {
	file := path(t)
	s := begin(t, Options{Path: file, MaxBytes: 1}) // raised to the least
	same(t, "least size", int64(minBytes), s.o.MaxBytes)
	long := []string{strings.Repeat("x", 400)}
	const n, perFlush = 8000, 500 // a multiple of what has room
	var living []identity.HostPID
	for pid := identity.HostPID(1); pid <= n; pid++ {
		p := process(pid, uint64(pid), "c", identity.PID(pid))
		p.Argv = long
		if pid%1000 == 0 {
			living = append(living, pid)
		} else {
			p = dead(p, int(pid))
		}
		s.PutProcess(p)
		if pid%perFlush == 0 {
			flushed(t, s)
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if info.Size() > minBytes || st.Bytes > minBytes || st.Used > st.Bytes || st.Used < minBytes/3 || st.PrunedBytes == 0 || st.PrunedAge != 0 || st.Dropped != 0 {
		t.Errorf("file of %d bytes, want at most %d; %+v", info.Size(), minBytes, st)
	}
	for _, pid := range living {
		if len(processes(t, s, pid, 1)) != 1 {
			t.Errorf("pid %d lives and was forgotten", pid)
		}
	}
	var oldest, newest, kept identity.HostPID = math.MaxUint32, 0, 0
	if err := s.Each(func(r identity.ProcessRecord) {
		if r.Exited {
			oldest, newest, kept = min(oldest, r.PID), max(newest, r.PID), kept+1
		}
	}); err != nil {
		t.Fatal(err)
	}
	living = living[oldest/1000:] // those between the oldest and the newest dead
	if newest != n-1 || kept != newest-oldest+2-identity.HostPID(len(living)) || uint64(kept)+st.PrunedBytes+n/1000 != n {
		t.Errorf("%d dead from %d to %d are left, with the living in between %v; %d pruned", kept, oldest, newest, living, st.PrunedBytes)
	}
	got := sizes(t, s)
	same(t, "no index entry without a record", []int{int(kept) + n/1000, int(kept) + n/1000, int(kept), n / 1000},
		[]int{got["processes"], got["inside"], got["by-time"], got["live"]})
}

// When no dead process is left, dead containers go; the living never, even if
// the file then grows.
func TestPruneBytesObjects(t *testing.T) {
	s := begin(t, Options{Path: path(t), MaxBytes: 1})
	name := strings.Repeat("x", 2000)
	for i := range 3000 {
		c := container(time.Duration(i).String(), "", 1, i, i%2 == 0)
		c.Display = name
		s.PutContainer(c)
		if i%500 == 0 {
			flushed(t, s)
		}
	}
	flushed(t, s)
	flushed(t, s)
	got := sizes(t, s)
	same(t, "containers", []int{1500, 0}, []int{got["objects"], got["objects-by-time"]})
	if st := s.Stats(); st.PrunedBytes != 1500 || st.Used < minBytes/2 {
		t.Errorf("%+v", st)
	}
}
