package history

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// view runs a read. A page found damaged fails the read, and the file is
// replaced.
func (s *Store) view(f func(tx *bolt.Tx) error) error {
	err := s.viewDB(f)
	if errors.Is(err, ErrDamaged) && !s.o.ReadOnly {
		err = errors.Join(err, s.replace(err))
	}
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	return nil
}

func (s *Store) viewDB(f func(tx *bolt.Tx) error) error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db == nil {
		return nil
	}
	return s.guard(func() error { return s.db.View(f) })
}

// decode decodes a stored value and counts those it cannot: they are left out
// of answers, but not in silence.
func (s *Store) decode(data []byte, out any) bool {
	if json.Unmarshal(data, out) == nil {
		return true
	}
	s.undecodable()
	return false
}

func (s *Store) undecodable() {
	s.mu.Lock()
	s.stats.Undecodable++
	s.mu.Unlock()
}

// Processes returns who had a host pid, the newest first, at most limit.
func (s *Store) Processes(pid identity.HostPID, limit int) ([]identity.ProcessRecord, error) {
	found := map[string]identity.ProcessRecord{}
	prefix := u32(uint32(pid))
	// Memory first: what a flush moves meanwhile is then met twice, not never.
	s.buffered(func(k string, r identity.ProcessRecord) {
		if strings.HasPrefix(k, string(prefix)) {
			found[k] = r
		}
	})
	err := s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketProcesses).Cursor()
		last := c.Last
		if next, _ := c.Seek(u32(uint32(pid) + 1)); next != nil { // pid 4294967295 does not exist
			last = c.Prev
		}
		k, v := last()
		for n := 0; k != nil && bytes.HasPrefix(k, prefix) && n < limit; k, v = c.Prev() {
			var r identity.ProcessRecord
			if !s.decode(v, &r) {
				continue
			}
			n++
			if _, newer := found[string(k)]; !newer {
				found[string(k)] = r
			}
		}
		return nil
	})
	return newest(found, limit), err
}

// buffered calls f with every process that is not on disk yet, newer records
// of a process after older ones.
func (s *Store) buffered(f func(key string, r identity.ProcessRecord)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range []pending{s.flushing, s.pending} {
		for k, r := range p.processes {
			f(k, r)
		}
	}
}

// newest sorts by key backwards: later boots and later starts first.
func newest(found map[string]identity.ProcessRecord, limit int) []identity.ProcessRecord {
	keys := make([]string, 0, len(found))
	for k := range found {
		keys = append(keys, k)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(keys)))
	var out []identity.ProcessRecord
	for _, k := range keys[:min(limit, len(keys))] {
		out = append(out, found[k])
	}
	return out
}

// InnerProcesses returns who had a pid in the pid namespace of a container at
// pid level level, the newest first: of the processes right in the container
// and of those in the containers inside it, which the caller names.
func (s *Store) InnerProcesses(containers []string, level int, pid identity.PID, limit int) ([]identity.ProcessRecord, error) {
	byStart := map[string]identity.ProcessRecord{}
	order := func(r identity.ProcessRecord) string { return fmt.Sprintf("%020d-%d", r.StartTime.UnixNano(), r.PID) }
	wanted := make(map[string]bool, len(containers))
	for _, id := range containers {
		wanted[id] = true
	}
	// Memory first, as in Processes.
	s.buffered(func(_ string, r identity.ProcessRecord) {
		if wanted[r.Container] && level >= 1 && level <= len(r.PIDs) && r.PIDs[level-1] == pid {
			byStart[order(r)] = r
		}
	})
	err := s.view(func(tx *bolt.Tx) error {
		inside, processes := tx.Bucket(bucketInside).Cursor(), tx.Bucket(bucketProcesses)
		for _, id := range containers {
			prefix := insideKey(id, nil)
			for k, v := inside.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = inside.Next() {
				has, ok := hasPID(v, level, pid)
				if !ok {
					s.undecodable()
				}
				if !has {
					continue
				}
				var r identity.ProcessRecord
				data := processes.Get(k[len(prefix):])
				if data == nil || !s.decode(data, &r) || r.Container != id {
					continue
				}
				if _, newer := byStart[order(r)]; !newer {
					byStart[order(r)] = r
				}
			}
		}
		return nil
	})
	return newest(byStart, limit), err
}

// hasPID reports whether the encoded pids have pid at a level, 1 the first; ok
// is false when they do not decode.
func hasPID(pids []byte, level int, pid identity.PID) (has, ok bool) {
	for i := 1; len(pids) > 0; i++ {
		v, n := binary.Uvarint(pids)
		if n <= 0 {
			return false, false
		}
		if i == level {
			return v == uint64(pid), true
		}
		pids = pids[n:]
	}
	return false, true
}

// Container returns a container by its short id.
func (s *Store) Container(id string) (r identity.ContainerRecord, ok bool) {
	ok = s.object(kindContainer, id, &r)
	return r, ok
}

// UserNS returns a user namespace.
func (s *Store) UserNS(key identity.NSKey) (r identity.UserNSRecord, ok bool) {
	ok = s.object(kindUserNS, key.String(), &r)
	return r, ok
}

func (s *Store) object(kind, id string, out any) bool {
	key := kind + "/" + id
	s.mu.Lock()
	o, ok := s.pending.objects[key]
	if !ok {
		o, ok = s.flushing.objects[key]
	}
	s.mu.Unlock()
	if ok {
		return s.decode(o.data, out)
	}
	err := s.view(func(tx *bolt.Tx) error {
		var so storedObject
		if v := tx.Bucket(bucketObjects).Get([]byte(key)); v != nil && s.decode(v, &so) {
			ok = s.decode(so.Data, out)
		}
		return nil
	})
	return ok && err == nil
}

// Containers returns the containers that lived at any time from from to to.
func (s *Store) Containers(from, to time.Time) ([]identity.ContainerRecord, error) {
	var out []identity.ContainerRecord
	err := eachObject(s, kindContainer, func(r identity.ContainerRecord) {
		if !r.First.After(to) && (!r.Gone || !r.Last.Before(from)) {
			out = append(out, r)
		}
	})
	return out, err
}

// UserNSs calls f with every user namespace remembered.
func (s *Store) UserNSs(f func(identity.UserNSRecord)) error { return eachObject(s, kindUserNS, f) }

func eachObject[R any](s *Store, kind string, f func(R)) error {
	prefix := []byte(kind + "/")
	s.mu.Lock()
	fresh := map[string][]byte{}
	for _, p := range []pending{s.flushing, s.pending} {
		for k, o := range p.objects {
			if strings.HasPrefix(k, string(prefix)) {
				fresh[k] = o.data
			}
		}
	}
	s.mu.Unlock()
	err := s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketObjects).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			if _, newer := fresh[string(k)]; newer {
				continue
			}
			var so storedObject
			var r R
			if s.decode(v, &so) && s.decode(so.Data, &r) {
				f(r)
			}
		}
		return nil
	})
	for _, data := range fresh {
		var r R
		if s.decode(data, &r) {
			f(r)
		}
	}
	return err
}

// Process returns one process of this boot.
func (s *Store) Process(key identity.ProcessKey) (r identity.ProcessRecord, ok bool) {
	k := s.processKey(key)
	s.mu.Lock()
	r, ok = s.pending.processes[string(k)]
	if !ok {
		r, ok = s.flushing.processes[string(k)]
	}
	s.mu.Unlock()
	if ok {
		return r, true
	}
	err := s.view(func(tx *bolt.Tx) error {
		if data := tx.Bucket(bucketProcesses).Get(k); data != nil {
			ok = s.decode(data, &r)
		}
		return nil
	})
	return r, ok && err == nil
}

// Unfinished is a process of the file that is not known to have exited.
type Unfinished struct {
	identity.ProcessRecord
	ThisBoot bool

	key string
}

// Live calls f with every unfinished process of the file.
func (s *Store) Live(f func(Unfinished)) error {
	return s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketLive).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			var r identity.ProcessRecord
			if data := tx.Bucket(bucketProcesses).Get(k); data != nil && s.decode(data, &r) {
				f(Unfinished{r, len(k) == 16 && bytes.Equal(k[4:8], u32(s.boot)), string(k)})
			}
		}
		return nil
	})
}

// Each calls f with every process on disk. One that does not decode is an error.
func (s *Store) Each(f func(identity.ProcessRecord)) error {
	return s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketProcesses).ForEach(func(_, v []byte) error {
			var r identity.ProcessRecord
			if !s.decode(v, &r) {
				return errors.New("a process record does not decode")
			}
			f(r)
			return nil
		})
	})
}
