package history

import (
	"fmt"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// pod is one that lives, or went at the last second.
func pod(uid string, first, last int, gone ...int) identity.PodRecord {
	one := []identity.Extent{{Host: 65536, Count: 65536}}
	r := identity.PodRecord{Pod: uid, UIDs: one, GIDs: one, Boot: "boot-a", First: at(first), Last: at(last)}
	if len(gone) > 0 {
		r.Gone, r.GoneBy = true, at(gone[0])
	}
	return r
}

func pods(t *testing.T, s *Store) (all []identity.PodRecord) {
	t.Helper()
	if err := s.Pods(func(r identity.PodRecord) { all = append(all, r) }); err != nil {
		t.Error(err)
	}
	return all
}

// Pods are the same from memory, from the disk, and after a crash; two ranges of
// one pod are two records, and the time of the last scan is none of them.
func TestPods(t *testing.T) {
	file := path(t)
	s := begin(t, Options{Path: file})
	same(t, "never scanned", time.Time{}, s.PodScan())
	s.PutPod(pod("a", 1, 2))
	old, now, other := pod("a", 1, 5, 7), pod("a", 7, 7), pod("aa", 3, 3)
	for _, r := range []identity.PodRecord{old, now, other} {
		s.PutPod(r)
	}
	s.PutPodScan(at(9))
	same(t, "in memory", 3, len(pods(t, s)))
	flushed(t, s)
	s.PutPod(pod("lost", 9, 9))
	s = begin(t, Options{Path: copyOf(t, file)})
	same(t, "after a crash", []identity.PodRecord{old, now, other}, pods(t, s))
	same(t, "the scan", at(9), s.PodScan())
}

// A pod is forgotten MaxAge after it can have gone; one that lives, never.
func TestPrunePodsByAge(t *testing.T) {
	s := begin(t, Options{Path: path(t), MaxAge: 50 * time.Second, Now: func() time.Time { return at(100) }})
	kept := []identity.PodRecord{pod("live", 1, 2), pod("young", 1, 2, 50)}
	for _, r := range append(kept, pod("old", 1, 48, 49)) {
		s.PutPod(r)
	}
	s.PutPodScan(at(2))
	flushed(t, s)
	if err := s.pruneAge(); err != nil {
		t.Fatal(err)
	}
	same(t, "left", kept, pods(t, s))
	same(t, "the scan", at(2), s.PodScan())
	same(t, "stats", []uint64{1, 0}, []uint64{s.Stats().PrunedAge, s.Stats().PrunedCount})
}

// Of more pods than maxPods, those longest gone are forgotten, and nobody else.
func TestPrunePodsByCount(t *testing.T) {
	s := begin(t, Options{Path: path(t)})
	const over = 3000 // more than a step forgets
	for i := range maxPods + over {
		r := pod(fmt.Sprint("p", i), i, i, i+1)
		if i == 0 {
			r = pod("live", 0, 0)
		}
		s.PutPod(r)
	}
	s.PutContainer(container("c", "", 0, 0, true))
	s.PutUserNS(userNS(7, 1))
	flushed(t, s)
	s.o.Now = func() time.Time { return at(maxPods) } // nobody is too old
	if err := s.pruneAge(); err != nil {
		t.Fatal(err)
	}
	first, live := 1<<30, false
	for _, r := range pods(t, s) {
		if live = live || r.Pod == "live"; r.Gone {
			first = min(first, int(r.First.Sub(epoch)/time.Second))
		}
	}
	got := sizes(t, s)
	same(t, "left", []int{maxPods + 2, maxPods, over + 1}, []int{got["objects"], got["objects-by-time"], first})
	if _, ok := s.Container("c"); !ok || !live {
		t.Errorf("container %v, live pod %v", ok, live)
	}
	same(t, "stats", []uint64{0, over}, []uint64{s.Stats().PrunedAge, s.Stats().PrunedCount})
}

// A pod's value that does not decode is left out and counted; the others stay.
func TestPodUndecodable(t *testing.T) {
	s := begin(t, Options{Path: path(t)})
	s.PutPod(pod("a", 1, 2))
	s.PutPod(pod("b", 1, 2))
	flushed(t, s)
	err := s.db.Update(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket(bucketObjects).Cursor().Seek([]byte("pod/a/"))
		return tx.Bucket(bucketObjects).Put(k, []byte("{"))
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "left", []identity.PodRecord{pod("b", 1, 2)}, pods(t, s))
	same(t, "counted", uint64(1), s.Stats().Undecodable)
}
