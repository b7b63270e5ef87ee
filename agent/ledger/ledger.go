package ledger

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Errors that a caller acts on.
var (
	ErrNoLease = errors.New("no such lease")
	ErrExists  = errors.New("lease exists")
	ErrTaken   = errors.New("range is taken")      // choose another
	ErrUnknown = errors.New("range may be taken")  // a damaged file hides which
	ErrState   = errors.New("state cannot follow") // see State
	ErrFull    = errors.New("ledger is full")      // release, or Prune
	ErrClosed  = errors.New("ledger is closed")

	errFixed     = errors.New("a field was changed that never changes")
	errDead      = errors.New("a tombstone is final")
	errUnsettled = errors.New("the disk disagrees with memory")
)

// Options of a ledger.
type Options struct {
	Dir string           // <state-dir>/leases; made if missing, root only
	Now func() time.Time // nil: time.Now

	// Prune removes tombstones that were released longer ago than MaxAge, and
	// the longest released beyond MaxTombstones. 0: a week, and 4096.
	MaxAge        time.Duration
	MaxTombstones int
}

// Ledger is the leases of this node. Safe for concurrent use: changes are made
// one after the other, and reads do not wait for the disk.
type Ledger struct {
	o    Options
	disk disk
	lock *os.File

	write   sync.Mutex        // held over a change, disk included
	redo    map[string]*Lease // with write: see settle
	mu      sync.RWMutex
	closed  bool
	leases  map[string]Lease
	taken   taken
	blocked []Blocked
}

// Open takes the ledger for this process, reads all leases, removes what a
// crash left half written, and sets aside what cannot be believed: see Blocked.
// The error is a *HeldError when another process has it.
func Open(o Options) (*Ledger, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, fmt.Errorf("make directory of the ledger: %w", err)
	}
	f, err := lock(filepath.Join(o.Dir, lockName), o.Now())
	if err != nil {
		return nil, err
	}
	l, err := open(o, osDisk{})
	if err != nil {
		f.Close()
		return nil, err
	}
	l.lock = f
	return l, nil
}

// makeDir makes dir and its parent so that a power failure does not take them,
// and with them what was synced below.
func makeDir(dir string) error {
	if _, err := os.Lstat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	return errors.Join(osDisk{}.SyncDir(parent), osDisk{}.SyncDir(filepath.Dir(parent)))
}

// open reads the directory. The caller has the lock.
func open(o Options, d disk) (*Ledger, error) {
	if o.MaxAge <= 0 {
		o.MaxAge = 7 * 24 * time.Hour
	}
	if o.MaxTombstones <= 0 {
		o.MaxTombstones = 4096
	}
	f, err := scan(d, o.Dir)
	if err != nil {
		return nil, err
	}
	l := &Ledger{o: o, disk: d, leases: map[string]Lease{}, redo: map[string]*Lease{}, blocked: f.blocked}
	if f.temp {
		if err := d.Remove(filepath.Join(o.Dir, tempName)); err != nil {
			return nil, fmt.Errorf("remove what a crash left behind: %w", err)
		}
	}
	for _, bad := range f.bad {
		b, err := setAside(d, o.Dir, bad)
		if err != nil {
			return nil, err
		}
		l.blocked = append(l.blocked, b)
	}
	for _, lease := range f.leases {
		l.leases[lease.ID] = lease
		if lease.Live() {
			l.taken.add(lease.Range, lease.ID)
		}
	}
	// An agent that was killed may have renamed and not synced. What was just
	// read must not be undone by a power failure.
	if err := d.SyncDir(o.Dir); err != nil {
		return nil, fmt.Errorf("sync directory of the ledger: %w", err)
	}
	return l, nil
}

// Read returns the leases and the damaged files below dir, for people. It takes
// no lock and changes nothing, so that it works beside an agent and without
// one; an agent that writes meanwhile may show a lease in its old or new state.
func Read(dir string) ([]Lease, []Blocked, error) {
	f, err := scan(osDisk{}, dir)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range f.bad {
		f.blocked = append(f.blocked, Blocked{filepath.Join(dir, b.name), b.dmg.Error(), b.rng, b.ok})
	}
	slices.SortFunc(f.leases, byID)
	return f.leases, f.blocked, nil
}

func byID(a, b Lease) int { return strings.Compare(a.ID, b.ID) }

// Close lets go of the ledger. A change under way ends first; later ones get
// ErrClosed.
func (l *Ledger) Close() error {
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return nil
	}
	err := l.settle()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
	}
	return err
}

// Get returns one lease.
func (l *Ledger) Get(id string) (Lease, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	lease, ok := l.leases[id]
	return lease.clone(), ok
}

// List returns all leases, tombstones included, sorted by id.
func (l *Ledger) List() []Lease {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := slices.SortedFunc(maps.Values(l.leases), byID)
	for i := range all {
		all[i] = all[i].clone()
	}
	return all
}

// Blocked returns the damaged files that Open found. With one of them not
// Known, Create refuses every range.
func (l *Ledger) Blocked() []Blocked { return slices.Clone(l.blocked) }
