package history

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Kinds of objects.
const (
	kindContainer = "container"
	kindUserNS    = "userns"
	kindPod       = "pod"
	kindPodScan   = "podscan"
	kindOOM       = "oom"
)

type object struct {
	data []byte
	last time.Time
	gone bool
}

// pending is what is not on disk yet.
type pending struct {
	processes map[string]identity.ProcessRecord // by process key
	objects   map[string]object                 // by object key
}

func newPending() pending {
	return pending{processes: map[string]identity.ProcessRecord{}, objects: map[string]object{}}
}

func (p pending) size() int { return len(p.processes) + len(p.objects) }

const (
	// flushAt asks for a flush before its time; dropAt is when the disk has
	// fallen so far behind that new records are given up: about 30 MB.
	flushAt = 8192
	dropAt  = 65536
)

// PutProcess remembers a process, replacing what was known of it.
func (s *Store) PutProcess(r identity.ProcessRecord) {
	key := string(s.processKey(identity.ProcessKey{PID: r.PID, Start: r.Start}))
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room(s.pending.processes[key].PID != 0) {
		return
	}
	s.pending.processes[key] = r
}

// Finish remembers that an unfinished process ended, at some time not later
// than last.
func (s *Store) Finish(u Unfinished, last time.Time) {
	u.Exited, u.Last = true, last
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, newer := s.pending.processes[u.key]; !newer && s.room(false) {
		s.pending.processes[u.key] = u.ProcessRecord
	}
}

// PutContainer remembers a container.
func (s *Store) PutContainer(r identity.ContainerRecord) {
	s.putObject(kindContainer, r.ID, r, r.Last, r.Gone)
}

// PutUserNS remembers a user namespace with its maps.
func (s *Store) PutUserNS(r identity.UserNSRecord) {
	s.putObject(kindUserNS, r.Key.String(), r, r.Last, r.Gone)
}

func (s *Store) putObject(kind, id string, v any, last time.Time, gone bool) {
	data, err := json.Marshal(v)
	if err != nil {
		s.o.Log.Error().Err(err).Str("kind", kind).Msg("record cannot be encoded")
		return
	}
	key := kind + "/" + id
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.pending.objects[key]
	if s.room(known) {
		s.pending.objects[key] = object{data, last, gone}
	}
}

// room reports whether a record may be kept, and asks for a flush in time.
func (s *Store) room(replaces bool) bool {
	n := s.pending.size()
	if n >= dropAt && !replaces {
		s.stats.Dropped++
		return false
	}
	if n >= flushAt {
		select {
		case s.full <- struct{}{}:
		default: // one is asked for already
		}
	}
	return true
}

// chunk bounds the records of one transaction. While it runs, old and new pages
// both stand in the file, about four per record: together an eighth of it.
func (s *Store) chunk() int { return int(min(max(s.o.MaxBytes>>17, 32), 2048)) }

// chunkBytes bounds what the records of one transaction add; only the last of
// them may go beyond.
func (s *Store) chunkBytes() int { return int(s.o.MaxBytes >> 6) }

// heartbeat is how often an idle agent notes that it is alive, which after a
// crash bounds the time of death of those that died unseen. Two flushes to the
// disk each time.
const heartbeat = 10 * time.Second

// flush writes what is pending. What could not be written stays pending. The
// final one notes the time in any case.
func (s *Store) flush(final bool) error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	start := time.Now()
	s.mu.Lock()
	batch := s.pending
	if batch.size() == 0 && !final && start.Sub(s.lastWrite) < heartbeat {
		s.stats.Flushes++ // nothing to do is done
		s.mu.Unlock()
		return nil
	}
	s.pending, s.flushing = newPending(), batch
	s.mu.Unlock()

	err := s.write(batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushing = pending{}
	if err != nil {
		s.restore(batch)
		return err
	}
	s.stats.Written += uint64(batch.size())
	s.stats.Flushes++
	s.lastWrite = start
	s.stats.FlushTime = time.Since(start)
	return nil
}

// restore puts a batch back, newer records first.
func (s *Store) restore(batch pending) {
	for k, v := range batch.processes {
		if _, newer := s.pending.processes[k]; !newer {
			s.pending.processes[k] = v
		}
	}
	for k, v := range batch.objects {
		if _, newer := s.pending.objects[k]; !newer {
			s.pending.objects[k] = v
		}
	}
}

func (s *Store) write(batch pending) error {
	type item struct {
		key   string
		write func(tx *bolt.Tx) (bytes int, err error)
	}
	items := make([]item, 0, batch.size())
	for k, v := range batch.objects {
		items = append(items, item{k, func(tx *bolt.Tx) (int, error) { return s.writeObject(tx, k, v) }})
	}
	for k, v := range batch.processes {
		items = append(items, item{k, func(tx *bolt.Tx) (int, error) { return s.writeProcess(tx, []byte(k), v) }})
	}
	// In the order of the tree: neighbours share pages.
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	for first := true; first || len(items) > 0; first = false {
		n := 0
		err := s.update(func(tx *bolt.Tx) error {
			for size := 0; n < min(s.chunk(), len(items)) && size < s.chunkBytes(); n++ {
				bytes, err := items[n].write(tx)
				if err != nil {
					return err
				}
				size += bytes
			}
			return tx.Bucket(bucketMeta).Put(keyAlive, u64(uint64(s.o.Now().UnixNano())))
		})
		if err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// update runs one transaction, and prunes first when the file is nearly full.
func (s *Store) update(f func(tx *bolt.Tx) error) error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db == nil {
		return fmt.Errorf("write history: closed")
	}
	return s.guard(func() error {
		if err := s.pruneBytes(); err != nil {
			return err
		}
		if err := s.db.Update(f); err != nil {
			return fmt.Errorf("write history: %w", err)
		}
		return nil
	})
}

func (s *Store) writeProcess(tx *bolt.Tx, key []byte, r identity.ProcessRecord) (int, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	if old := tx.Bucket(bucketProcesses).Get(key); old != nil {
		// A process that has moved must leave no entry where it was: pruning
		// only knows where it is.
		var was struct {
			Container string `json:"container"`
		}
		if s.decode(old, &was) && was.Container != r.Container {
			if err := tx.Bucket(bucketInside).Delete(insideKey(was.Container, key)); err != nil {
				return 0, err
			}
		}
	}
	if err := tx.Bucket(bucketProcesses).Put(key, data); err != nil {
		return 0, err
	}
	pids := make([]byte, 0, 3*len(r.PIDs))
	for _, p := range r.PIDs {
		pids = binary.AppendUvarint(pids, uint64(p))
	}
	if err := tx.Bucket(bucketInside).Put(insideKey(r.Container, key), pids); err != nil {
		return 0, err
	}
	live := tx.Bucket(bucketLive)
	if !r.Exited {
		return len(data), live.Put(key, nil)
	}
	if err := live.Delete(key); err != nil {
		return 0, err
	}
	return len(data), tx.Bucket(bucketByTime).Put(timeKey(r.Last, key), nil)
}

// timeKey is when something ended, and its key. A record that ends again, at a
// corrected time, leaves its old entry behind: pruning meets it and looks at
// the record.
func timeKey(t time.Time, key []byte) []byte { return append(u64(uint64(t.UnixNano())), key...) }

func insideKey(container string, key []byte) []byte {
	return append(append([]byte(container), 0), key...)
}

// storedObject is an object on disk.
type storedObject struct {
	Last time.Time       `json:"last"`
	Gone bool            `json:"gone,omitempty"`
	Data json.RawMessage `json:"data"`
}

func (s *Store) writeObject(tx *bolt.Tx, key string, o object) (int, error) {
	objects, byTime := tx.Bucket(bucketObjects), tx.Bucket(bucketObjTime)
	if old := objects.Get([]byte(key)); old != nil {
		var was storedObject
		if s.decode(old, &was) && was.Gone {
			if err := byTime.Delete(timeKey(was.Last, []byte(key))); err != nil {
				return 0, err
			}
		}
	}
	data, err := json.Marshal(storedObject{o.last, o.gone, o.data})
	if err != nil {
		return 0, err
	}
	if err := objects.Put([]byte(key), data); err != nil {
		return 0, err
	}
	if o.gone {
		return len(data), byTime.Put(timeKey(o.last, []byte(key)), nil)
	}
	return len(data), nil
}
