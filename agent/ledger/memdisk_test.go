package ledger

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// memDisk is a file system that remembers what a power failure would leave. An
// operation can fail before or after it took effect, and the machine can stop
// there. It is at least as bad as a real one: a crash keeps any prefix of the
// changes of a directory since its last sync, any part of a file that was not
// synced, and a failed fsync makes the data of that file be lost for ever
// although later fsyncs succeed.
type memDisk struct {
	seen    map[string]*memFile            // path → file, as programs see it
	kept    map[string]*memFile            // as on the platter
	pending []func(map[string]*memFile)    // changes of directories since the last sync
	dirs    map[string]bool                // directories
	steps   int                            // operations so far
	fault   func(step int, op string) verb // what happens to this one
	syncs   map[*memFile]int
	names   []string // what the operations were
}

type memFile struct {
	data   []byte
	synced []byte // what the platter has; nil if it was never synced
	lost   bool   // an fsync failed
}

// verb is what happens to an operation.
type verb int

const (
	works verb = iota
	failsBefore
	failsAfter
	stopsBefore
	stopsAfter
)

// stop is the panic that ends the program: the machine has stopped.
type stop struct{}

// survive catches a stop, and reports it.
func survive(x any) bool {
	if x == nil {
		return false
	}
	if _, ok := x.(stop); !ok {
		panic(x)
	}
	return true
}

func newMemDisk() *memDisk {
	return &memDisk{seen: map[string]*memFile{}, kept: map[string]*memFile{}, dirs: map[string]bool{"/l": true}, syncs: map[*memFile]int{}}
}

// do runs one operation with its fault.
func (d *memDisk) do(op string, errno error, effect func() error) error {
	d.steps++
	d.names = append(d.names, op)
	v := works
	if d.fault != nil {
		v = d.fault(d.steps, op)
	}
	switch v {
	case failsBefore:
		return errno
	case stopsBefore:
		panic(stop{})
	}
	err := effect()
	switch v {
	case failsAfter:
		return errno
	case stopsAfter:
		panic(stop{})
	}
	return err
}

func (d *memDisk) change(f func(map[string]*memFile)) {
	f(d.seen)
	d.pending = append(d.pending, f)
}

// crash returns the disk that the next start finds.
func (d *memDisk) crash(r *rand.Rand) *memDisk {
	n := newMemDisk()
	n.dirs = d.dirs
	for _, f := range d.pending[:r.IntN(len(d.pending)+1)] {
		f(d.kept)
	}
	for path, f := range d.kept {
		data := f.synced
		if data == nil { // anything may be there
			data = slices.Clone(f.data[:r.IntN(len(f.data)+1)])
			for i := range data {
				if r.IntN(8) == 0 {
					data[i] = 0
				}
			}
		}
		g := &memFile{data: data, synced: data}
		n.seen[path], n.kept[path] = g, g
	}
	return n
}

// killed returns the disk after the program, not the machine, has died.
func (d *memDisk) killed() *memDisk {
	d.fault = nil
	return d
}

type memEntry struct {
	fs.DirEntry
	name string
	dir  bool
}

func (e memEntry) Name() string { return e.name }
func (e memEntry) Type() fs.FileMode {
	if e.dir {
		return fs.ModeDir
	}
	return 0
}

func (d *memDisk) List(dir string, limit int) (out []fs.DirEntry, err error) {
	err = d.do("list", unix.EIO, func() error {
		for p := range d.seen {
			if filepath.Dir(p) == dir {
				out = append(out, memEntry{name: filepath.Base(p)})
			}
		}
		for p := range d.dirs {
			if filepath.Dir(p) == dir {
				out = append(out, memEntry{name: filepath.Base(p), dir: true})
			}
		}
		slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		if len(out) > limit {
			return errors.New("too many")
		}
		return nil
	})
	return out, err
}

func (d *memDisk) Read(path string) (b []byte, err error) {
	err = d.do("read", unix.EMFILE, func() error {
		f, ok := d.seen[path]
		if !ok {
			return fs.ErrNotExist
		}
		b = f.data
		return nil
	})
	return b, err
}

func (d *memDisk) Create(path string) (diskFile, error) {
	f := &memFile{}
	err := d.do("create", unix.ENOSPC, func() error {
		if d.seen[path] != nil {
			return fs.ErrExist
		}
		d.change(func(m map[string]*memFile) { m[path] = f })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &memHandle{d: d, f: f}, nil
}

func (d *memDisk) Rename(from, to string) error {
	return d.do("rename", unix.EIO, func() error {
		f := d.seen[from]
		if f == nil {
			return fs.ErrNotExist
		}
		d.change(func(m map[string]*memFile) {
			delete(m, from)
			m[to] = f
		})
		return nil
	})
}

func (d *memDisk) Remove(path string) error {
	return d.do("remove", unix.EROFS, func() error {
		if d.seen[path] == nil {
			return fs.ErrNotExist
		}
		d.change(func(m map[string]*memFile) { delete(m, path) })
		return nil
	})
}

func (d *memDisk) Mkdir(dir string) error {
	return d.do("mkdir", unix.ENOSPC, func() error { d.dirs[dir] = true; return nil })
}

func (d *memDisk) SyncDir(string) error {
	return d.do("syncdir", unix.EIO, func() error {
		for _, f := range d.pending {
			f(d.kept)
		}
		d.pending = nil
		return nil
	})
}

type memHandle struct {
	d      *memDisk
	f      *memFile
	failed bool
}

func (h *memHandle) Write(b []byte) (n int, err error) {
	err = h.d.do("write", unix.ENOSPC, func() error {
		h.f.data = append(h.f.data, b...)
		n = len(b)
		return nil
	})
	if err != nil && n == 0 { // the disk got full half way
		h.f.data, n = append(h.f.data, b[:len(b)/2]...), len(b)/2
	}
	return n, err
}

func (h *memHandle) Sync() error {
	if h.failed {
		panic("a failed fsync was retried on the same description")
	}
	err := h.d.do("sync", unix.EIO, func() error {
		if !h.f.lost {
			h.f.synced = slices.Clone(h.f.data)
		}
		return nil
	})
	if err != nil {
		h.failed, h.f.lost = true, true
	}
	return err
}

func (h *memHandle) Close() error {
	return h.d.do("close", unix.EIO, func() error { return nil })
}

// clock returns a clock that goes a second with every look.
func clock() func() time.Time {
	now := epoch
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}
