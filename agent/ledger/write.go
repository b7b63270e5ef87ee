package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Create writes a new lease in state Intent and sets its times. Its range must
// be free: ErrTaken names who has it, ErrUnknown the damaged file that may.
func (l *Ledger) Create(n Lease) (Lease, error) {
	l.write.Lock()
	defer l.write.Unlock()
	now := l.o.Now()
	n.State, n.Created, n.Updated, n.Released = Intent, now, now, time.Time{}
	n = n.normal()
	if _, ok := l.leases[n.ID]; ok {
		return Lease{}, fmt.Errorf("create lease %s: %w", n.ID, ErrExists)
	}
	if len(l.leases) >= maxLeases {
		return Lease{}, fmt.Errorf("create lease %s: %w: %d leases in %s", n.ID, ErrFull, len(l.leases), l.o.Dir)
	}
	if err := l.free(n.Range); err != nil {
		return Lease{}, fmt.Errorf("create lease %s: %w", n.ID, err)
	}
	return l.commit(nil, n)
}

// free says who has an id of r.
func (l *Ledger) free(r Range) error {
	if other, ok := l.taken.find(r); ok {
		return fmt.Errorf("%w: %s by lease %s", ErrTaken, r, other)
	}
	for _, b := range l.blocked {
		if b.Known && b.Range.Overlaps(r) {
			return fmt.Errorf("%w: %s by %s", ErrTaken, r, b)
		}
		if !b.Known && !r.Empty() {
			return fmt.Errorf("%w: %s", ErrUnknown, b)
		}
	}
	return nil
}

// Update changes what is known of a live lease, not its state. change gets a
// copy; ID, State, Range, Boot and the times are not its to set.
func (l *Ledger) Update(id string, change func(*Lease)) (Lease, error) {
	return l.change(id, "", change)
}

// Advance takes a lease to its next state (ErrState if that is not the next);
// change, which may be nil, is as for Update. With Tombstone the range is free.
func (l *Ledger) Advance(id string, to State, change func(*Lease)) (Lease, error) {
	return l.change(id, to, change)
}

func (l *Ledger) change(id string, to State, change func(*Lease)) (Lease, error) {
	l.write.Lock()
	defer l.write.Unlock()
	old, ok := l.leases[id]
	if !ok {
		return Lease{}, fmt.Errorf("change lease %q: %w", id, ErrNoLease)
	}
	if to == "" {
		if !old.Live() {
			return Lease{}, fmt.Errorf("change lease %s: %w", id, errDead)
		}
		to = old.State
	} else if !slices.Contains(legal[old.State], to) {
		return Lease{}, fmt.Errorf("change lease %s: %w: %s after %s", id, ErrState, to, old.State)
	}
	n := old.clone()
	if change != nil {
		change(&n)
		if n.ID != old.ID || n.State != old.State || n.Range != old.Range || n.Boot != old.Boot || n.Created != old.Created || n.Released != old.Released {
			return Lease{}, fmt.Errorf("change lease %s: %w", id, errFixed)
		}
	}
	n.State, n.Updated = to, l.o.Now()
	if to == Tombstone {
		n.Released = n.Updated
	}
	return l.commit(&old, n.normal())
}

// commit brings n to disk, then to memory. After an error both hold old; while
// the disk refuses even that, nothing else is written. The caller holds write.
func (l *Ledger) commit(old *Lease, n Lease) (Lease, error) {
	if l.closed {
		return Lease{}, ErrClosed
	}
	if err := l.settle(); err != nil {
		return Lease{}, err
	}
	maybe, err := l.replace(n)
	if err != nil {
		err = fmt.Errorf("write lease %s: %w", n.ID, err)
		if maybe {
			l.redo[n.ID] = old
			err = errors.Join(err, l.settle())
		}
		return Lease{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leases[n.ID] = n
	if old == nil {
		l.taken.add(n.Range, n.ID)
	} else if !n.Live() {
		l.taken.remove(n.Range)
	}
	return n.clone(), nil
}

// settle makes the disk agree with memory again. redo has, by id, what must be
// written anew (nil: the file must go) after a change that failed when it may
// have been visible. To sync the old description again would not do: after a
// failed fsync the kernel calls the same pages clean.
func (l *Ledger) settle() error {
	for id, want := range l.redo {
		var err error
		if want != nil {
			_, err = l.replace(*want)
		} else if err = l.disk.Remove(l.path(id)); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = l.disk.SyncDir(l.o.Dir)
		}
		if err != nil {
			return fmt.Errorf("take back a failed write of lease %s: %w: %w: see to the file system of %s", id, errUnsettled, err, l.o.Dir)
		}
		delete(l.redo, id)
	}
	return nil
}

// replace writes a lease's file. maybe: the error left it open whether the new
// file is visible, or will be after a crash.
func (l *Ledger) replace(n Lease) (maybe bool, err error) {
	data, err := encode(n)
	if err != nil {
		return false, err
	}
	temp := filepath.Join(l.o.Dir, tempName)
	if err := l.fill(temp, data); err != nil {
		// The error is what matters; what stays is removed by the next write.
		_ = l.disk.Remove(temp)
		return false, err
	}
	if err := l.disk.Rename(temp, l.path(n.ID)); err != nil {
		_ = l.disk.Remove(temp)
		return true, err
	}
	return true, l.disk.SyncDir(l.o.Dir)
}

func (l *Ledger) fill(path string, data []byte) error {
	if err := l.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := l.disk.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func (l *Ledger) path(id string) string { return filepath.Join(l.o.Dir, id+suffix) }

// Prune removes old tombstones, see Options, and returns how many. On an error
// those before it are gone. It works while nothing can be written, because on a
// full disk it is what makes room.
func (l *Ledger) Prune() (int, error) {
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return 0, ErrClosed
	}
	var dead []Lease
	for _, lease := range l.leases {
		if !lease.Live() {
			dead = append(dead, lease)
		}
	}
	slices.SortFunc(dead, func(a, b Lease) int {
		if c := b.Released.Compare(a.Released); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	limit := l.o.Now().Add(-l.o.MaxAge)
	n := 0
	for i, lease := range dead {
		if i < l.o.MaxTombstones && !lease.Released.Before(limit) {
			continue
		}
		if err := l.disk.Remove(l.path(lease.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.redo[lease.ID] = &lease // it may be gone all the same
			return n, fmt.Errorf("remove tombstone: %w", err)
		}
		delete(l.redo, lease.ID)
		l.mu.Lock()
		delete(l.leases, lease.ID)
		l.mu.Unlock()
		n++
	}
	if n == 0 {
		return 0, nil
	}
	// If this fails the tombstones may come back with a crash; they block nobody.
	if err := l.disk.SyncDir(l.o.Dir); err != nil {
		return n, fmt.Errorf("sync directory of the ledger: %w", err)
	}
	return n, nil
}

// Equal reports whether two leases are the same.
func (l Lease) Equal(o Lease) bool { return reflect.DeepEqual(l.normal(), o.normal()) }
