// Package history remembers who was who: processes, namespaces with their id
// maps, containers, and pods' ranges of ids stay answerable after death and
// after a restart.
//
// What enters: records of package identity. What leaves: the same, by pid, by
// inner pid, by container, by time. It writes one bbolt file below the state
// directory, bounded by age and by bytes, and sets a damaged one aside.
//
// Writes go to memory and reach the disk within FlushEvery, so that a crash
// loses no more than that and no caller waits for a disk. Reads see both.
// All methods are safe for concurrent use.
package history

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// ErrLocked means that another process has the history open.
var ErrLocked = errors.New("history is in use by another process")

// ErrDamaged means that the file cannot be read. A store that may write has
// set it aside and begun a new one by the time a caller sees this.
var ErrDamaged = errors.New("history file is damaged")

// Options of a Store.
type Options struct {
	Path       string        // of the file; its directory is created
	Boot       string        // boot id
	MaxAge     time.Duration // default 7 days
	MaxBytes   int64         // of the file; default 256 MiB, at least 4 MiB
	FlushEvery time.Duration // default 500 ms
	ReadOnly   bool          // for a look while no agent runs
	Log        zerolog.Logger
	Now        func() time.Time // default time.Now
}

// Store is an open history.
type Store struct {
	o    Options
	boot uint32 // index of this boot: later boots have higher ones

	flushMu sync.Mutex // one flush at a time

	dbMu sync.RWMutex // held for writing while the file is replaced
	db   *bolt.DB

	mu        sync.Mutex // guards what follows
	pending   pending
	flushing  pending // taken from pending, on its way to the disk
	stats     Stats
	lastWrite time.Time // of the last transaction
	bad       *bolt.DB  // a page of it was found damaged
	full      chan struct{}

	previous Previous
}

// Previous is what the last run left.
type Previous struct {
	Alive time.Time // when it was last known to run; zero: never
	Boot  string
}

// Stats of a Store.
type Stats struct {
	Buffered    int           // records not on disk yet
	Dropped     uint64        // records given up because the disk did not keep up
	Written     uint64        // records
	Flushes     uint64        //
	FlushTime   time.Duration // of the last flush
	Bytes       int64         // of the file
	Used        int64         // of these, not free for reuse
	PrunedAge   uint64        // records
	PrunedBytes uint64        // records
	PrunedCount uint64        // records
	Damaged     uint64        // files set aside
	Undecodable uint64        // times a stored value could not be decoded
}

// Schema is the version of the layout below. A file of another version is set
// aside, never overwritten.
const schema = 1

// Buckets. A process's key is pid, boot index, start, all big endian: a cursor
// that walks back from a pid's end meets the newest first.
var (
	bucketMeta      = []byte("meta")
	bucketBoots     = []byte("boots")     // boot id → index
	bucketProcesses = []byte("processes") // process key → record
	bucketLive      = []byte("live")      // process key, of those not known to have exited
	bucketByTime    = []byte("by-time")   // time of death, process key
	bucketInside    = []byte("inside")    // innermost container id, process key → pids by level
	bucketObjects   = []byte("objects")   // kind and id → record
	bucketObjTime   = []byte("objects-by-time")
	keySchema       = []byte("schema")
	keyAlive        = []byte("alive")
	keyBoot         = []byte("boot")
)

func buckets() [][]byte {
	return [][]byte{bucketMeta, bucketBoots, bucketProcesses, bucketLive, bucketByTime, bucketInside, bucketObjects, bucketObjTime}
}

// allocBytes is how much larger than needed the file grows.
const allocBytes = 1 << 20

// minBytes is the smallest file in which pruning can keep up with a flush.
const minBytes = 4 << 20

// Open opens or creates the history. A damaged file is renamed and a new one
// begun. The caller closes the Store and calls Run.
func Open(o Options) (*Store, error) {
	if o.MaxAge <= 0 {
		o.MaxAge = 7 * 24 * time.Hour
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	o.MaxBytes = max(o.MaxBytes, minBytes)
	if o.FlushEvery <= 0 {
		o.FlushEvery = 500 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{o: o, full: make(chan struct{}, 1), pending: newPending()}
	if o.ReadOnly {
		if _, err := os.Stat(o.Path); err != nil {
			return nil, fmt.Errorf("open history: %w", err)
		}
		return s, s.open()
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("create state directory: %w: choose another with --state-dir", err)
	}
	err := s.open()
	if errors.Is(err, ErrDamaged) {
		if err = s.setAside(err); err == nil {
			s.boot = 0
			err = s.open()
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) open() (err error) {
	db, err := openFile(s.o.Path, s.o.ReadOnly)
	if err != nil {
		return err
	}
	s.db = db
	defer func() {
		if err != nil {
			_ = s.closeDB()
		}
	}()
	if s.o.ReadOnly {
		return s.guard(func() error { return db.View(s.readMeta) })
	}
	return s.guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			for _, b := range buckets() {
				if _, err := tx.CreateBucketIfNotExists(b); err != nil {
					return err
				}
			}
			meta := tx.Bucket(bucketMeta)
			if v := meta.Get(keySchema); v == nil {
				if err := meta.Put(keySchema, u32(schema)); err != nil {
					return err
				}
			}
			if err := s.readMeta(tx); err != nil {
				return err
			}
			return s.beginBoot(tx)
		})
	})
}

// openFile opens the file and turns what can go wrong into ErrLocked,
// ErrDamaged, or an error that names the file.
func openFile(path string, readOnly bool) (db *bolt.DB, err error) {
	if info, serr := os.Stat(path); serr == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open history %s: not a regular file: remove it or choose another --state-dir", path)
	}
	// A torn page can make bbolt panic, or fault in the mapped file.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("open history %s: %w: %v", path, ErrDamaged, r)
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout:  time.Second, // for the lock of another agent
		ReadOnly: readOnly,
		// Pages are freed all over the file by pruning; the map finds room
		// without a walk.
		FreelistType: bolt.FreelistMapType,
	})
	switch {
	case err == nil:
		// Grow in small steps: the file's size is bounded.
		db.AllocSize = allocBytes
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open history %s: %w: stop the other eyas agent or choose another --state-dir", path, ErrLocked)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch),
		errors.Is(err, bolterrors.ErrInvalidMapping):
		return nil, fmt.Errorf("open history %s: %w: %w", path, ErrDamaged, err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("open history: %w: make the state directory writable or choose another with --state-dir", err)
	}
	// bbolt reports a file that is too short for its header as plain text.
	if info, serr := os.Stat(path); serr == nil && info.Size() > 0 && !errors.Is(err, os.ErrPermission) && !isErrno(err) {
		return nil, fmt.Errorf("open history %s: %w: %w", path, ErrDamaged, err)
	}
	return nil, fmt.Errorf("open history: %w: make the state directory writable or choose another with --state-dir", err)
}

func isErrno(err error) bool {
	var pe *os.PathError
	return errors.As(err, &pe)
}

// guard runs f and turns a panic of bbolt over a damaged page into ErrDamaged.
// The caller holds dbMu.
func (s *Store) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			s.mu.Lock()
			s.bad = s.db
			s.mu.Unlock()
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return f()
}

// closeDB closes the file, unless a write met damage: bbolt may then hold a
// lock that the panic left, and closing could wait for ever. The descriptor
// goes with the process. The caller holds dbMu.
func (s *Store) closeDB() (err error) {
	s.mu.Lock()
	bad := s.bad == s.db
	s.mu.Unlock()
	if !bad || s.o.ReadOnly {
		err = s.db.Close()
	}
	s.db = nil
	return err
}

// setAside renames the file, so that nothing is lost, and says so.
func (s *Store) setAside(why error) error {
	stamp := s.o.Now().UTC().Format("20060102T150405.000")
	aside := s.o.Path + ".damaged-" + stamp
	if err := os.Rename(s.o.Path, aside); err != nil {
		return fmt.Errorf("set damaged history aside: %w", err)
	}
	s.mu.Lock()
	s.stats.Damaged++
	s.mu.Unlock()
	s.o.Log.Warn().AnErr("reason", why).Str("set_aside", aside).Msg("history is damaged: it was set aside and a new one begun")
	return keepNewest(s.o.Path+".damaged-*", 3)
}

// keepNewest bounds the files set aside; their stamps sort by time.
func keepNewest(pattern string, n int) error {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return fmt.Errorf("list damaged histories: %w", err)
	}
	for i := 0; i < len(files)-n; i++ {
		if err := os.Remove(files[i]); err != nil {
			return fmt.Errorf("remove old damaged history: %w", err)
		}
	}
	return nil
}

func (s *Store) readMeta(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return fmt.Errorf("%w: no meta bucket", ErrDamaged)
	}
	if v := meta.Get(keySchema); len(v) != 4 || binary.BigEndian.Uint32(v) != schema {
		return fmt.Errorf("%w: layout %x, want %d", ErrDamaged, v, schema)
	}
	if v := meta.Get(keyAlive); len(v) == 8 {
		s.previous.Alive = time.Unix(0, int64(binary.BigEndian.Uint64(v))).UTC()
	}
	s.previous.Boot = string(meta.Get(keyBoot))
	if v := tx.Bucket(bucketBoots).Get([]byte(s.o.Boot)); len(v) == 4 {
		s.boot = binary.BigEndian.Uint32(v)
	}
	return nil
}

func (s *Store) beginBoot(tx *bolt.Tx) error {
	boots := tx.Bucket(bucketBoots)
	if len(boots.Get([]byte(s.o.Boot))) != 4 {
		// The index stays when the file is replaced: keys in memory have it.
		n := max(boots.Sequence()+1, uint64(s.boot))
		if err := boots.SetSequence(n); err != nil {
			return err
		}
		s.boot = uint32(n)
		if err := boots.Put([]byte(s.o.Boot), u32(s.boot)); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(keyBoot, []byte(s.o.Boot))
}

// Previous returns what the last run left.
func (s *Store) Previous() Previous { return s.previous }

// Close flushes and closes.
func (s *Store) Close() error {
	var errs []error
	if !s.o.ReadOnly {
		errs = append(errs, s.flush(true))
	}
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	if s.db != nil {
		errs = append(errs, s.closeDB())
	}
	return errors.Join(errs...)
}

// Run flushes and prunes until ctx ends. A file found damaged while it runs is
// set aside and a new one begun.
func (s *Store) Run(ctx context.Context) error {
	flush := time.NewTicker(s.o.FlushEvery)
	defer flush.Stop()
	prune := time.NewTicker(time.Minute)
	defer prune.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-flush.C:
			err = s.flush(false)
		case <-s.full:
			err = s.flush(false)
		case <-prune.C:
			err = s.pruneAge()
		}
		if err = s.mend(err); err != nil {
			s.o.Log.Error().Err(err).Msg("history could not be written; it is kept in memory and tried again")
		}
	}
}

// mend replaces the file if err says that it is damaged.
func (s *Store) mend(err error) error {
	if errors.Is(err, ErrDamaged) {
		return s.replace(err)
	}
	return err
}

// replace sets the damaged file aside while others wait. Of several that met
// the damage, the first does it.
func (s *Store) replace(why error) error {
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	s.mu.Lock()
	bad := s.bad
	s.mu.Unlock()
	if s.db == nil || s.db != bad {
		return nil
	}
	s.db = nil // left open, as in closeDB
	if err := s.setAside(why); err != nil {
		return err
	}
	return s.open()
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Buffered = s.pending.size()
	return st
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// processKey is 16 bytes: pid, boot index, start.
func (s *Store) processKey(k identity.ProcessKey) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 16), uint32(k.PID))
	b = binary.BigEndian.AppendUint32(b, s.boot)
	return binary.BigEndian.AppendUint64(b, k.Start)
}
