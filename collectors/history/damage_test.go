package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// whole is the content of a file with n processes, half of them dead.
func whole(t testing.TB, n int) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "h.db")
	s, err := Open(Options{Path: file, Boot: "boot-a"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		p := process(identity.HostPID(i+1), 1, "c", identity.PID(i+1))
		if i%2 == 0 {
			p = dead(p, 2)
		}
		s.PutProcess(p)
	}
	s.PutContainer(container("c", "", 1, 2, true))
	s.PutUserNS(userNS(7, 1))
	s.PutPod(pod("p", 1, 2))
	s.PutPodScan(at(2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// use asks everything, writes, and prunes. Only damage may make it fail.
func use(s *Store) error {
	var errs []error
	_, err := s.Processes(1, 9)
	errs = append(errs, err)
	_, err = s.InnerProcesses([]string{"c"}, 1, 3, 9)
	errs = append(errs, err)
	_, err = s.Containers(time.Time{}, at(1<<20))
	errs = append(errs, err, s.UserNSs(func(identity.UserNSRecord) {}), s.Live(func(Unfinished) {}))
	s.Process(identity.ProcessKey{PID: 2, Start: 1})
	s.Container("c")
	s.UserNS(identity.NSKey{Inum: 7, Gen: 1})
	errs = append(errs, s.Pods(func(identity.PodRecord) {}))
	s.PodScan()
	s.PutPod(pod("p", 1, 3))
	s.PutProcess(dead(process(2, 1, "d", 5), 3))
	s.PutProcess(process(1<<31, 1, "c", 5))
	s.PutContainer(container("c", "", 1, 3, false))
	errs = append(errs, s.mend(s.flush(true)), s.mend(s.pruneAge()))
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
	}
	return nil
}

func lay(t testing.TB, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "h.db")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A file that is no history is set aside untouched, the log says so, and the
// store begins anew. A reader leaves it where it is.
func TestDamagedFile(t *testing.T) {
	good := whole(t, 500)
	page := os.Getpagesize()
	patched := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	other := lay(t, good)
	db, err := bolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, u32(schema+1)) }), db.Close())
	layout, rerr := os.ReadFile(other)
	if err := errors.Join(err, rerr); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"text":           []byte("state: fine\n"),
		"zeros":          make([]byte, 1<<20),
		"noise":          bytes.Repeat([]byte("\xde\xad\xbe\xef"), 1<<16),
		"one byte":       {0},
		"first page":     good[:page],
		"metas only":     good[:2*page],
		"both metas bad": patched(func(b []byte) { b[16] ^= 1; b[page+16] ^= 1 }),
		"layout":         layout,
	} {
		file := lay(t, content)
		if s, err := Open(Options{Path: file, Boot: "boot-a", ReadOnly: true}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: to read: %v, %v", name, s, err)
		}
		var log strings.Builder
		s, err := Open(Options{Path: file, Boot: "boot-a", Now: func() time.Time { return epoch }, Log: zerolog.New(&log)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		aside := file + ".damaged-20260131T030000.000"
		kept, err := os.ReadFile(aside)
		if err != nil || !bytes.Equal(kept, content) {
			t.Errorf("%s: set aside: %v, %d bytes of %d", name, err, len(kept), len(content))
		}
		for _, want := range []string{`"level":"warn"`, "set aside and a new one begun", aside, `"reason"`} {
			if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), want) {
				t.Errorf("%s: %s in the log: %s", name, want, &log)
			}
		}
		same(t, name+": begins empty", 0, len(processes(t, s, 1, 9)))
		same(t, name+": stats", Stats{Damaged: 1}, s.Stats())
		if err := errors.Join(use(s), s.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// At most three files set aside are kept, the newest.
func TestSetAsideBound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h.db")
	for i := range 5 {
		if err := os.WriteFile(file, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		begin(t, Options{Path: file, Now: func() time.Time { return at(i) }}).Close()
	}
	var got []string
	files, _ := filepath.Glob(file + ".damaged-*")
	for _, f := range files {
		b, err := os.ReadFile(f)
		got = append(got, fmt.Sprintf("%s %v", b, err))
	}
	same(t, "set aside", []string{"\x02 <nil>", "\x03 <nil>", "\x04 <nil>"}, got)
}

// harmless reports whether damage at an offset cannot make a loop of branch
// pages: bbolt's recursion in one ends the process.
func harmless(content []byte, off, page int) bool {
	flags := binary.NativeEndian.Uint16(content[off/page*page+8:])
	return flags&1 == 0 // branchPageFlag
}

// Whatever bits flip, and wherever a file ends, the store opens, answers or
// says why not, takes new records, and keeps them.
func TestBitFlips(t *testing.T) {
	good := whole(t, 300)
	page := os.Getpagesize()
	random := rand.New(rand.NewPCG(1, 2))
	var damaged, undecodable uint64
	for i := range 200 {
		b := bytes.Clone(good)
		what := "cut"
		if i%4 == 0 {
			b = b[:1+random.IntN(len(b)-1)]
		} else {
			off := random.IntN(len(b))
			if i%4 == 1 {
				off = off/page*page + random.IntN(48) // of a page's head
			}
			if !harmless(b, off, page) {
				continue
			}
			b[off] ^= 1 << random.IntN(8)
			what = fmt.Sprintf("bit at %d", off)
		}
		file := lay(t, b)
		s, err := Open(Options{Path: file, Boot: "boot-a"})
		if err != nil {
			t.Fatalf("%d: %s: %v", i, what, err)
		}
		if err := use(s); err != nil {
			t.Fatalf("%d: %s: %v", i, what, err)
		}
		st := s.Stats()
		damaged, undecodable = damaged+st.Damaged, undecodable+st.Undecodable
		if st.Damaged > 0 { // what is told from now on is kept
			if err := use(s); err != nil {
				t.Fatalf("%d: %s: %v", i, what, err)
			}
			if got, err := s.Processes(1<<31, 9); err != nil || len(got) != 1 {
				t.Fatalf("%d: %s: after it was set aside: %v, %v", i, what, got, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatalf("%d: %s: %v", i, what, err)
		}
	}
	if damaged == 0 || undecodable == 0 {
		t.Errorf("%d files were found damaged and %d values undecodable: the test proves nothing", damaged, undecodable)
	}
}

// A page that only a read meets, in a file that opens: the read fails, the
// file goes, what is in memory stays, under the keys it has.
func TestDamageWhileRunning(t *testing.T) {
	file := lay(t, whole(t, 2000))
	begin(t, Options{Path: file, Boot: "boot-b"}).Close()
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	var root uint64
	err = db.View(func(tx *bolt.Tx) error { root = uint64(tx.Bucket(bucketProcesses).Root()); return nil })
	f, ferr := os.OpenFile(file, os.O_WRONLY, 0)
	if err := errors.Join(err, ferr, db.Close()); err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	s := begin(t, Options{Path: file, Boot: "boot-b"})
	fresh := process(1, 5, "c", 1)
	s.PutProcess(fresh)
	key := s.processKey(identity.ProcessKey{PID: 1, Start: 5})
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 8), int64(root)*int64(os.Getpagesize())+8); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Processes(1, 9); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "read history: history file is damaged") {
		t.Errorf("read of a damaged page: %v", err)
	}
	same(t, "set aside once", uint64(1), s.Stats().Damaged)
	if err := s.replace(ErrDamaged); err != nil || s.Stats().Damaged != 1 {
		t.Errorf("a second reader set the new file aside: %v", err)
	}
	flushed(t, s)
	same(t, "what was in memory", []identity.ProcessRecord{fresh}, processes(t, s, 1, 9))
	same(t, "its key", key, s.processKey(identity.ProcessKey{PID: 1, Start: 5}))
	s.PutProcess(dead(fresh, 9))
	flushed(t, s)
	same(t, "one record, not two", []identity.ProcessRecord{dead(fresh, 9)}, processes(t, s, 1, 9))
	s.Close()
	s = begin(t, Options{Path: file, Boot: "boot-c"})
	if next := s.processKey(identity.ProcessKey{PID: 1, Start: 5}); bytes.Compare(next, key) <= 0 {
		t.Errorf("key %x of the next boot is not after %x", next, key)
	}
}

// A flush that fails gives nothing up; newer words stay newer.
func TestFailedFlush(t *testing.T) {
	s := begin(t, Options{Path: path(t)})
	s.Close()
	s.PutProcess(process(1, 1, "c", 1))
	s.PutContainer(container("c", "", 1, 1, false))
	batch := s.pending
	s.pending = newPending()
	s.PutProcess(dead(process(1, 1, "c", 1), 2))
	s.restore(batch)
	if err := s.flush(true); err == nil || !strings.Contains(err.Error(), "write history: closed") {
		t.Errorf("flush of a closed store: %v", err)
	}
	same(t, "kept", []identity.ProcessRecord{dead(process(1, 1, "c", 1), 2)}, processes(t, s, 1, 1))
	same(t, "still to be written", 2, s.Stats().Buffered)
}
