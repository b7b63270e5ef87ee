// Package disk adds up what a directory takes on its disk, and finds the files
// that overlayfs copied up into it.
//
// What enters: an open directory, and bounds. What leaves: a Usage. It reads
// directories, inodes and extended attributes, opens no file that is not a
// directory, and changes nothing.
//
// Whoever writes below the directory may be hostile, and may write meanwhile. A
// directory is opened from the one around it by one name, by openat2 without
// links and without leaving the mount, and never by "..": what is put in its
// place is refused or is beneath as well. All else is looked at by name and
// not opened, so that no FIFO, device or socket acts. Entries, depth and time are
// bounded; a Usage that is not whole says why. A file system that does not
// answer (FUSE, NFS) can hold a call for ever: callers give Walk a goroutine of its own.
package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Options bound a Walk, and say how files that were copied up are known.
type Options struct {
	Files   int // the largest to name; 0 names none
	Entries int // names to look at; default 1,000,000
	Depth   int // directories below each other, each of which takes a descriptor; default 512

	// Marks begins the names of overlayfs's extended attributes: "trusted.overlay.",
	// which only a process with CAP_SYS_ADMIN in the first user namespace is
	// shown, or "user.overlay.". "": they cannot be read.
	Marks string
	// Lowers are the lower layers, the uppermost first, for when marks cannot be
	// read. None: it is not known what was copied up.
	Lowers []*os.File
}

// Ways of knowing that a file was copied up.
const (
	ByOrigin = "origin" // overlayfs's mark
	ByLower  = "lower"  // a lower layer has a regular file there, which may be another
)

// Usage is what a directory takes. It is the least when Cut says why.
type Usage struct {
	Bytes       uint64   `json:"bytes"`       // allocated, the directory itself included, as du(1) counts
	Files       uint64   `json:"files"`       // regular ones; several names of one are one
	Directories uint64   `json:"directories"` // below the directory
	Others      uint64   `json:"others"`      // links, devices, FIFOs, sockets
	Whiteouts   uint64   `json:"whiteouts"`   // names that hide one of a lower layer
	Opaque      uint64   `json:"opaque"`      // directories that hide all of the lower ones; 0 also without marks
	CopiedUp    CopiedUp `json:"copied_up"`
	Cut         []string `json:"cut,omitempty"`
}

// CopiedUp are the regular files whose data came from a lower layer.
type CopiedUp struct {
	By           string `json:"by"` // origin, lower, or "": not known, and all else is 0
	Files        uint64 `json:"files"`
	Bytes        uint64 `json:"bytes"`         // allocated
	MetadataOnly uint64 `json:"metadata_only"` // files whose data is still the lower one's: not among Files
	Largest      []File `json:"largest"`       // by allocated bytes, then by path
}

// File is a file that was copied up.
type File struct {
	Path  string `json:"path"`  // below the directory, raw and hostile
	Size  uint64 `json:"size"`  // its length
	Bytes uint64 `json:"bytes"` // allocated
}

// compare sorts the largest first.
func (f File) compare(o File) int {
	return cmp.Or(cmp.Compare(o.Bytes, f.Bytes), strings.Compare(f.Path, o.Path))
}

// Walk adds up a directory, which must be open for reading and at its start,
// until ctx ends. An error means that not even the directory itself could be read.
func Walk(ctx context.Context, dir *os.File, o Options) (Usage, error) {
	if o.Entries <= 0 {
		o.Entries = 1_000_000
	}
	if o.Depth <= 0 {
		o.Depth = 512
	}
	w := &walk{ctx: ctx, o: o, seen: map[inode]struct{}{}, buf: make([]byte, 32<<10)}
	w.u.CopiedUp.Largest = []File{}
	fd := int(dir.Fd())
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, statMask, &st); err != nil {
		return Usage{}, fmt.Errorf("look at the directory: %w", err)
	}
	w.mount, w.u.Bytes = st.Mnt_id, st.Blocks*blockSize
	if w.o.Marks != "" {
		if _, err := unix.Fgetxattr(fd, w.o.Marks+"origin", nil); err != nil && !errors.Is(err, unix.ENODATA) {
			w.o.Marks = ""
		}
	}
	switch {
	case w.o.Marks != "":
		w.u.CopiedUp.By = ByOrigin
	case len(w.o.Lowers) > 0:
		w.u.CopiedUp.By = ByLower
	}
	if err := w.directory(fd); err != nil && !errors.Is(err, errStop) {
		return Usage{}, fmt.Errorf("read the directory: %w", err)
	}
	w.say()
	return w.u, nil
}

// say tells what was left out.
func (w *walk) say() {
	for _, why := range []struct {
		n    int
		text string
	}{
		{w.deep, fmt.Sprintf("directories more than %d deep were not entered", w.o.Depth)},
		{w.mounts, "mount points inside were not entered"},
		{w.unread, "entries could not be read"},
	} {
		if why.n > 0 {
			w.u.Cut = append(w.u.Cut, fmt.Sprintf("%d %s", why.n, why.text))
		}
	}
	if w.firstErr != nil {
		w.u.Cut[len(w.u.Cut)-1] += ": " + w.firstErr.Error()
	}
}

// keep remembers a file if it is among the largest.
func (w *walk) keep(name string, size, bytes uint64) {
	all := w.u.CopiedUp.Largest
	if w.o.Files <= 0 || len(all) == w.o.Files && all[len(all)-1].Bytes > bytes {
		return
	}
	f := File{Path: w.join(name), Size: size, Bytes: bytes}
	at, _ := slices.BinarySearchFunc(all, f, File.compare)
	all = slices.Insert(all, at, f)
	w.u.CopiedUp.Largest = all[:min(len(all), w.o.Files)]
}
