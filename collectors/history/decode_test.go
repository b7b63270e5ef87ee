package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// store puts a raw value.
func store(t testing.TB, s *Store, bucket, key, value []byte) {
	t.Helper()
	if err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put(key, value) }); err != nil {
		t.Fatal(err)
	}
}

// A value that does not decode is left out of every answer, counted each time,
// and hides no other.
func TestUndecodable(t *testing.T) {
	s := begin(t, Options{Path: path(t), MaxAge: time.Second})
	good := process(1, 5, "c", 1)
	s.PutProcess(good)
	s.PutProcess(process(1, 6, "c", 1))
	s.PutContainer(container("c", "", 1, 2, false))
	s.PutContainer(container("d", "", 1, 2, false))
	s.PutUserNS(userNS(7, 1))
	flushed(t, s)
	bad := s.processKey(identity.ProcessKey{PID: 1, Start: 6})
	store(t, s, bucketProcesses, bad, []byte(`{"pid":"one"}`))
	store(t, s, bucketInside, insideKey("c", []byte("other")), []byte{0xff})
	store(t, s, bucketObjects, []byte("container/d"), []byte(`{"data":{"id":7},"last":3}`))
	store(t, s, bucketObjects, []byte("userns/7.1"), []byte(`{"data":{"key":[]},"last":3}`))
	store(t, s, bucketByTime, timeKey(at(1), bad), nil)

	var was uint64
	for _, tc := range []struct {
		name  string
		count uint64
		do    func() error
	}{
		{"good ones", 0, func() error { s.Container("c"); return nil }},
		{"processes", 1, func() error {
			same(t, "processes", []identity.ProcessRecord{good}, processes(t, s, 1, 1))
			return nil
		}},
		{"inner pid", 2, func() error {
			same(t, "inner pid", []identity.ProcessRecord{good}, inner(t, s, []string{"c"}, 1, 1))
			return nil
		}},
		{"one process", 1, func() error {
			if _, ok := s.Process(identity.ProcessKey{PID: 1, Start: 6}); ok {
				t.Error("found")
			}
			return nil
		}},
		{"one container", 1, func() error {
			if _, ok := s.Container("d"); ok {
				t.Error("found")
			}
			return nil
		}},
		{"containers", 1, func() error {
			got, err := s.Containers(time.Time{}, at(9))
			same(t, "containers", []identity.ContainerRecord{container("c", "", 1, 2, false)}, got)
			return err
		}},
		{"one user namespace", 1, func() error {
			if _, ok := s.UserNS(identity.NSKey{Inum: 7, Gen: 1}); ok {
				t.Error("found")
			}
			return nil
		}},
		{"user namespaces", 1, func() error {
			return s.UserNSs(func(u identity.UserNSRecord) { t.Errorf("found %+v", u) })
		}},
		{"the living", 1, func() error {
			return s.Live(func(u Unfinished) { same(t, "live", good, u.ProcessRecord) })
		}},
		{"each", 1, func() error {
			if err := s.Each(func(identity.ProcessRecord) {}); err == nil || errors.Is(err, ErrDamaged) {
				t.Errorf("each: %v", err)
			}
			return nil
		}},
		{"overwritten", 2, func() error {
			s.PutUserNS(userNS(7, 1))
			s.PutContainer(container("d", "", 1, 2, false))
			return s.flush(true)
		}},
		{"pruned", 1, s.pruneAge},
		{"then all is well", 0, func() error { return s.Each(func(r identity.ProcessRecord) { same(t, "each", good, r) }) }},
	} {
		if err := tc.do(); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		st := s.Stats()
		if st.Undecodable-was != tc.count || st.Damaged != 0 {
			t.Errorf("%s: %d counted, want %d; %+v", tc.name, st.Undecodable-was, tc.count, st)
		}
		was = st.Undecodable
	}
}

// Whatever stands in the values of a file, every read and write ends without
// an error, and what does not decode is counted.
func FuzzStoredValues(f *testing.F) {
	record, err := json.Marshal(dead(process(1, 5, "c", 3, 1), 9))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record, []byte{3, 1}, []byte(`{"last":"2026-01-31T03:00:00Z","gone":true,"data":{"id":"c","last":"2026-01-31T03:00:00Z"}}`), u32(1), []byte("time key and more"))
	f.Add([]byte("null"), []byte{0x80}, []byte(`{"data":null}`), u32(0), []byte{})
	f.Add([]byte(`{"pids":[-1]}`), bytes.Repeat([]byte{0xff}, 11), []byte(`{"data":"x"}`), []byte("alive..."), []byte("\x00\x00\x00\x00\x00\x00\x00\x00c"))
	s, err := Open(Options{Path: f.TempDir() + "/h.db", Boot: "boot-a", MaxAge: 1})
	if err != nil {
		f.Fatal(err)
	}
	s.db.NoSync = true
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, record, pids, object, meta, index []byte) {
		key := s.processKey(identity.ProcessKey{PID: 1, Start: 5})
		if err := s.db.Update(func(tx *bolt.Tx) error {
			var errs []error
			for _, b := range [][]byte{bucketProcesses, bucketInside, bucketObjects, bucketLive, bucketByTime, bucketObjTime} {
				err := tx.DeleteBucket(b)
				_, cerr := tx.CreateBucket(b)
				errs = append(errs, err, cerr)
			}
			put := func(bucket, key, value []byte) {
				if len(key) > 0 {
					errs = append(errs, tx.Bucket(bucket).Put(key, value))
				}
			}
			put(bucketProcesses, key, record)
			put(bucketInside, insideKey("c", key), pids)
			put(bucketObjects, []byte("container/c"), object)
			put(bucketObjects, []byte("userns/7.1"), object)
			put(bucketMeta, keyAlive, meta)
			put(bucketLive, key, meta)
			put(bucketByTime, index, nil)
			put(bucketObjTime, index, nil)
			put(bucketLive, index, nil)
			return errors.Join(errs...)
		}); err != nil {
			t.Fatal(err)
		}
		was := s.Stats().Undecodable
		got, err := s.Processes(1, 9)
		if err != nil || (len(got) == 0) != (s.Stats().Undecodable > was) {
			t.Fatalf("%d processes, %v, undecodable %d, then %d", len(got), err, was, s.Stats().Undecodable)
		}
		if err := s.db.View(s.readMeta); err != nil {
			t.Fatal(err)
		}
		if err := use(s); err != nil || s.Stats().Damaged > 0 {
			t.Fatalf("%v, %+v", err, s.Stats())
		}
	})
}

// Whatever byte is wrong, the store opens, answers, and goes on.
func FuzzDamage(f *testing.F) {
	good := whole(f, 200)
	page := os.Getpagesize()
	for i := range 12 {
		f.Add(uint32(i*page+8), byte(0x10))
		f.Add(uint32(i*page+20), byte(0xff))
	}
	f.Fuzz(func(t *testing.T, off uint32, xor byte) {
		if int(off) >= len(good) || !harmless(good, int(off), page) {
			return
		}
		if at := int(off) % page; (at == 8 || at == 9) && int(off)/page > 1 && xor&1 != 0 {
			return // a leaf may become a branch
		}
		b := bytes.Clone(good)
		b[off] ^= xor
		s, err := Open(Options{Path: lay(t, b), Boot: "boot-a"})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(use(s), use(s), s.Close()); err != nil {
			t.Fatal(err)
		}
	})
}
