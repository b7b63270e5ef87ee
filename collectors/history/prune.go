package history

import (
	"bytes"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// pruneStep is how many records one transaction forgets.
func (s *Store) pruneStep() int { return s.chunk() / 2 }

// pruneAge forgets what died longer ago than MaxAge, and pods and OOM
// kills beyond their numbers.
func (s *Store) pruneAge() error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db == nil {
		return nil
	}
	limit := uint64(s.o.Now().Add(-s.o.MaxAge).UnixNano())
	step := s.pruneStep()
	return s.guard(func() error {
		for {
			n, counted := 0, 0
			err := s.db.Update(func(tx *bolt.Tx) (err error) {
				n, err = s.forgetProcesses(tx, step, limit)
				if err != nil {
					return err
				}
				m, err := forgetObjects(tx, step, limit)
				if err != nil {
					return err
				}
				n += m
				for kind, most := range map[string]int{kindPod: maxPods, kindOOM: maxOOMs} {
					more, err := s.pruneCount(tx, kind, most)
					if err != nil {
						return err
					}
					counted += more
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("prune history by age: %w", err)
			}
			s.mu.Lock()
			s.stats.PrunedAge += uint64(n)
			s.stats.PrunedCount += uint64(counted)
			s.mu.Unlock()
			if max(n, counted) < step {
				return nil
			}
		}
	})
}

// pruneBytes forgets the longest dead until there is room for a transaction. The
// file never shrinks, but what is freed is used again before it grows; a
// fifth is left for the pages of a transaction under way. The caller holds dbMu
// and guards.
func (s *Store) pruneBytes() error {
	for {
		size, used := s.measure()
		s.mu.Lock()
		s.stats.Bytes, s.stats.Used = size, used
		s.mu.Unlock()
		if used < s.o.MaxBytes/5*4-allocBytes {
			return nil
		}
		n := 0
		err := s.db.Update(func(tx *bolt.Tx) (err error) {
			n, err = s.forgetProcesses(tx, s.pruneStep(), ^uint64(0))
			if err == nil && n == 0 {
				n, err = forgetObjects(tx, s.pruneStep(), ^uint64(0))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("prune history by size: %w", err)
		}
		if n == 0 {
			return nil // only the living are left
		}
		s.mu.Lock()
		s.stats.PrunedBytes += uint64(n)
		s.mu.Unlock()
	}
}

// measure returns the file's size and what of it is in use.
func (s *Store) measure() (size, used int64) {
	_ = s.db.View(func(tx *bolt.Tx) error {
		size = tx.Size()
		return nil
	})
	st := s.db.Stats()
	return size, size - int64(st.FreePageN+st.PendingPageN)*int64(s.db.Info().PageSize)
}

// forgetProcesses removes up to n processes that died before limit, the oldest
// first.
func (s *Store) forgetProcesses(tx *bolt.Tx, n int, limit uint64) (int, error) {
	keys := oldest(tx.Bucket(bucketByTime), n, limit)
	for _, k := range keys {
		key := k[8:]
		if v := tx.Bucket(bucketProcesses).Get(key); v != nil {
			var was identity.ProcessRecord
			if s.decode(v, &was) {
				if !was.Exited || !bytes.Equal(timeKey(was.Last, key), k) {
					// It lives after all, or ended at another time than this
					// entry says.
					if err := tx.Bucket(bucketByTime).Delete(k); err != nil {
						return 0, err
					}
					continue
				}
				if err := tx.Bucket(bucketInside).Delete(insideKey(was.Container, key)); err != nil {
					return 0, err
				}
			}
			if err := tx.Bucket(bucketProcesses).Delete(key); err != nil {
				return 0, err
			}
		}
		if err := tx.Bucket(bucketByTime).Delete(k); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

func forgetObjects(tx *bolt.Tx, n int, limit uint64) (int, error) {
	keys := oldest(tx.Bucket(bucketObjTime), n, limit)
	return len(keys), deleteObjects(tx, keys)
}

// deleteObjects removes those that entries of the time index name, and these.
func deleteObjects(tx *bolt.Tx, keys [][]byte) error {
	for _, k := range keys {
		if err := tx.Bucket(bucketObjects).Delete(k[8:]); err != nil {
			return err
		}
		if err := tx.Bucket(bucketObjTime).Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// oldest returns copies of the first n keys of a time index before limit.
func oldest(b *bolt.Bucket, n int, limit uint64) [][]byte {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.First(); k != nil && len(keys) < n; k, _ = c.Next() {
		if len(k) < 8 || binary.BigEndian.Uint64(k) >= limit {
			break
		}
		keys = append(keys, append([]byte(nil), k...))
	}
	return keys
}
