package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Names below the ledger's directory.
const (
	suffix     = ".json"
	lockName   = "lock"
	tempName   = ".new" // one is enough: writes are one after the other
	damagedDir = "damaged"
)

// Bounds on the number of files.
const (
	maxLeases  = 32768
	maxDamaged = 1024
)

// Blocked is a file that cannot be believed. What it lent stays taken until a
// person repairs the file and moves it back, or removes it.
type Blocked struct {
	File   string // where it is now
	Reason string
	Range  Range
	Known  bool // Range is what the file lent; else any range may be taken
}

func (b Blocked) String() string {
	r := b.Range.String()
	if !b.Known {
		r = "unknown range"
	}
	return fmt.Sprintf("%s: %s (%s stays taken): repair it and move it back, or remove it once nobody uses the range", b.File, b.Reason, r)
}

// found is what a directory holds.
type found struct {
	leases  []Lease
	bad     []badFile // to be set aside
	blocked []Blocked // was set aside earlier
	temp    bool      // a crash left a file behind
}

type badFile struct {
	name string
	dmg  *damage
	rng  Range
	ok   bool // rng is known
}

// scan reads a directory and changes nothing.
func scan(d disk, dir string) (found, error) {
	var f found
	entries, err := d.List(dir, maxLeases+16)
	if err != nil {
		return f, fmt.Errorf("list ledger: %w", err)
	}
	hasDamaged := false
	for _, e := range entries {
		name := e.Name()
		switch {
		case name == tempName:
			f.temp = true
		case name == damagedDir:
			hasDamaged = true
		case strings.HasSuffix(name, suffix):
			l, data, err := load(d, filepath.Join(dir, name), e)
			if err == nil && name != l.ID+suffix {
				err = &damage{damageName, fmt.Errorf("the lease in it is %s", l.ID)}
			}
			var dmg *damage
			switch {
			case err == nil:
				f.leases = append(f.leases, l)
			case errors.Is(err, fs.ErrNotExist): // pruned while Read was reading
			case errors.As(err, &dmg):
				b := badFile{name: name, dmg: dmg}
				b.rng, b.ok = salvage(data)
				f.bad = append(f.bad, b)
			default:
				return f, err
			}
		}
	}
	f.separate()
	if hasDamaged {
		f.blocked, err = scanDamaged(d, filepath.Join(dir, damagedDir))
	}
	return f, err
}

// load reads one file. Errors of the disk and of the content are damage; what
// is wrong with this process (no descriptors, no rights) is not.
func load(d disk, path string, e fs.DirEntry) (Lease, []byte, error) {
	if !e.Type().IsRegular() {
		return Lease{}, nil, &damage{damageKind, errors.New("not a regular file")}
	}
	data, err := d.Read(path)
	if err != nil {
		if errors.Is(err, unix.EIO) || errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG) {
			return Lease{}, nil, &damage{damageUnreadable, err}
		}
		return Lease{}, nil, fmt.Errorf("read lease: %w", err)
	}
	l, err := parse(data)
	return l, data, err
}

// separate keeps of live leases with overlapping ranges the one that was made
// first.
func (f *found) separate() {
	slices.SortFunc(f.leases, func(a, b Lease) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	var t taken
	f.leases = slices.DeleteFunc(f.leases, func(l Lease) bool {
		if !l.Live() {
			return false
		}
		if other, ok := t.find(l.Range); ok {
			err := fmt.Errorf("its range %s overlaps that of lease %s", l.Range, other)
			f.bad = append(f.bad, badFile{l.ID + suffix, &damage{damageOverlap, err}, l.Range, true})
			return true
		}
		t.add(l.Range, l.ID)
		return false
	})
}

// scanDamaged reads what was set aside before.
func scanDamaged(d disk, dir string) ([]Blocked, error) {
	entries, err := d.List(dir, maxDamaged)
	if err != nil {
		return nil, fmt.Errorf("list damaged leases: %w", err)
	}
	var all []Blocked
	for _, e := range entries {
		b := Blocked{File: filepath.Join(dir, e.Name())}
		l, data, err := load(d, b.File, e)
		var dmg *damage
		switch {
		case err == nil: // it was not believed for another reason than its content
			b.Reason, b.Range, b.Known = "set aside before, see the end of its name", l.Range, true
		case errors.As(err, &dmg):
			b.Reason = "set aside before: " + dmg.Error()
			b.Range, b.Known = salvage(data)
		default:
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// setAside moves a file into the directory of damaged ones; its new name ends
// with the kind of damage. What has that name already is not replaced.
func setAside(d disk, dir string, b badFile) (Blocked, error) {
	aside := filepath.Join(dir, damagedDir)
	if err := d.Mkdir(aside); err != nil {
		return Blocked{}, fmt.Errorf("set damaged lease aside: %w", err)
	}
	entries, err := d.List(aside, maxDamaged-1)
	if err != nil {
		return Blocked{}, fmt.Errorf("set damaged lease aside: %w", err)
	}
	to := b.name + "." + b.dmg.kind
	for n := 2; slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == to }); n++ {
		to = fmt.Sprintf("%s.%s.%d", b.name, b.dmg.kind, n)
	}
	if err := d.Rename(filepath.Join(dir, b.name), filepath.Join(aside, to)); err != nil {
		return Blocked{}, fmt.Errorf("set damaged lease aside: %w", err)
	}
	if err := errors.Join(d.SyncDir(aside), d.SyncDir(dir)); err != nil {
		return Blocked{}, fmt.Errorf("set damaged lease aside: %w", err)
	}
	return Blocked{filepath.Join(aside, to), b.dmg.Error(), b.rng, b.ok}, nil
}
