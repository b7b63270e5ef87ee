package history

import (
	"bytes"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// maxPods bounds the pods remembered: when the file is full, objects are the
// last to go, and pods alone must not fill it.
const maxPods = 10_000

// PutPod remembers a range that kubelet gave to a pod. A pod that gets another
// one has a record for each.
func (s *Store) PutPod(r identity.PodRecord) {
	last := r.Last
	if r.Gone {
		last = r.GoneBy // it may have been there until then
	}
	s.putObject(kindPod, fmt.Sprintf("%s/%020d", r.Pod, r.First.UnixNano()), r, last, r.Gone)
}

// Pods calls f with every range of a pod remembered.
func (s *Store) Pods(f func(identity.PodRecord)) error { return eachObject(s, kindPod, f) }

// PutPodScan remembers when all pods that are not gone were last seen.
func (s *Store) PutPodScan(at time.Time) { s.putObject(kindPodScan, "last", at, at, false) }

// PodScan returns what PutPodScan was last told; zero: nothing.
func (s *Store) PodScan() (at time.Time) {
	s.object(kindPodScan, "last", &at)
	return at
}

// pruneCount forgets the objects of a kind that are longest gone beyond most, and
// returns how many of them it forgot, at most a step.
func (s *Store) pruneCount(tx *bolt.Tx, kind string, most int) (int, error) {
	prefix := []byte(kind + "/")
	excess := -most
	c := tx.Bucket(bucketObjects).Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		excess++
	}
	excess = min(excess, s.pruneStep())
	var keys [][]byte
	if excess > 0 {
		c = tx.Bucket(bucketObjTime).Cursor()
		for k, _ := c.First(); k != nil && len(keys) < excess; k, _ = c.Next() {
			if len(k) > 8 && bytes.HasPrefix(k[8:], prefix) {
				keys = append(keys, bytes.Clone(k))
			}
		}
	}
	return len(keys), deleteObjects(tx, keys)
}
