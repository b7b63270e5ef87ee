package history

import (
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func kill(second int, pids ...identity.HostPID) identity.OOMRecord {
	usage := uint64(1<<64 - 1)
	r := identity.OOMRecord{Time: at(second), Limit: identity.OOMLimit{Scope: identity.OOMContainer, Source: identity.OOMTold, Cgroup: "/a\x1b", Container: "c", Usage: &usage}}
	for _, pid := range pids {
		r.Victims = append(r.Victims, identity.OOMVictim{PID: pid, Time: at(second), StartTime: at(0), Comm: "t\n", PIDs: []identity.PID{7, 1}})
	}
	return r
}

func kills(t *testing.T, s *Store, since int) (all []identity.OOMRecord) {
	t.Helper()
	if err := s.OOMs(at(since), func(r identity.OOMRecord) { all = append(all, r) }); err != nil {
		t.Error(err)
	}
	return all
}

// A kill grows by those killed beside, and is the same from memory, from the
// disk, and after a crash; two at one time are two.
func TestOOMs(t *testing.T) {
	file := path(t)
	s := begin(t, Options{Path: file})
	s.PutOOM(identity.OOMRecord{Time: at(1)}) // of nobody
	s.PutOOM(kill(1, 5))
	same(t, "in memory", []identity.OOMRecord{kill(1, 5)}, kills(t, s, 0))
	s.PutOOM(kill(1, 5, 6))
	flushed(t, s)
	s.PutOOM(kill(1, 7))
	s.PutOOM(kill(3, 5))
	flushed(t, s)
	s.PutOOM(kill(4, 9))
	s = begin(t, Options{Path: copyOf(t, file), Boot: "another"})
	same(t, "after a crash", []identity.OOMRecord{kill(1, 5, 6), kill(1, 7), kill(3, 5)}, kills(t, s, 0))
	same(t, "since then", []identity.OOMRecord{kill(3, 5)}, kills(t, s, 3))
	same(t, "since later", 0, len(kills(t, s, 4)))
}

// Kills are forgotten by age, and those longest ago beyond maxOOMs, without
// others.
func TestPruneOOMs(t *testing.T) {
	const over = 20
	s := begin(t, Options{Path: path(t), MaxAge: 50 * time.Second, Now: func() time.Time { return at(100) }})
	s.PutOOM(kill(49, 1))
	for i := range maxOOMs + over {
		s.PutOOM(kill(60, identity.HostPID(i+1)))
	}
	s.PutOOM(kill(70, 1))
	s.PutPod(pod("live", 1, 2))
	flushed(t, s)
	if err := s.pruneAge(); err != nil {
		t.Fatal(err)
	}
	left := kills(t, s, 0)
	same(t, "left", []any{maxOOMs, at(70), 1}, []any{len(left), left[len(left)-1].Time, len(pods(t, s))})
	same(t, "stats", []uint64{1, over + 1}, []uint64{s.Stats().PrunedAge, s.Stats().PrunedCount})
}

// A kill that does not decode is left out and counted; the others stay.
func TestOOMUndecodable(t *testing.T) {
	s := begin(t, Options{Path: path(t)})
	s.PutOOM(kill(1, 1))
	s.PutOOM(kill(2, 2))
	flushed(t, s)
	if err := s.db.Update(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket(bucketObjects).Cursor().Seek([]byte("oom/"))
		return tx.Bucket(bucketObjects).Put(k, []byte(`{"data":{"victims":7}}`))
	}); err != nil {
		t.Fatal(err)
	}
	same(t, "left", []identity.OOMRecord{kill(2, 2)}, kills(t, s, 0))
	same(t, "counted", uint64(1), s.Stats().Undecodable)
}
