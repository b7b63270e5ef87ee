// Package hostfs reads files below a directory as those see them whose root directory
// it is: the node's, for an agent in a pod, is /proc/1/root, and a link there to
// /data/etc/subuid means the node's /data, not the image's.
//
// What enters: the path of such a directory. What leaves: open files, and their content,
// bounded. What it may touch: it opens for reading, and what is no regular file only to
// be looked at. That a file is absent is told apart from that nobody can tell: a link
// that leads to nothing is an error of its own, ErrDangling.
package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrDangling is wrapped by errors of paths on which a link leads to what is not there.
// It is no fs.ErrNotExist: what the link is for may be there tomorrow, or be hidden.
var ErrDangling = errors.New("is a link to what is not there: mend the link, or remove it")

// ErrNoRoot is wrapped by errors of a root that cannot be opened: of what is below it,
// nothing is known.
var ErrNoRoot = errors.New("open root directory")

// Root is a directory in which files are looked up. The zero Root is the process's own
// root directory. Safe for concurrent use.
type Root struct {
	Path  string // "": /
	Shown string // what people call it, in errors; "": /
}

// Call is what people call a file.
func (r Root) Call(name string) string { return r.Shown + "/" + strings.TrimPrefix(name, "/") }

// Open opens a file by openat2(2). Links, also absolute ones and "..", end inside the
// root (RESOLVE_IN_ROOT), and those of procfs, which would leave it, are refused
// (RESOLVE_NO_MAGICLINKS). The error is an fs.ErrNotExist only where nothing has the name.
func (r Root) Open(name string, flags uint64) (*os.File, error) {
	dir := r.Path
	if dir == "" {
		dir = "/"
	}
	base, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		// Not wrapped: it may be an fs.ErrNotExist, which says nothing of name.
		return nil, fmt.Errorf("open %s: %w %s: %s", r.Call(name), ErrNoRoot, dir, err.Error())
	}
	defer unix.Close(base)
	fd, err := openBelow(base, name, flags)
	if err == nil {
		return os.NewFile(uintptr(fd), r.Call(name)), nil
	}
	if errors.Is(err, unix.ENOENT) {
		if link, dangles := dangling(base, name); dangles {
			return nil, &fs.PathError{Op: "open", Path: r.Call(link), Err: ErrDangling}
		}
	}
	return nil, &fs.PathError{Op: "open", Path: r.Call(name), Err: err}
}

func openBelow(base int, name string, flags uint64) (fd int, err error) {
	name = strings.TrimPrefix(name, "/")
	if name == "" {
		name = "."
	}
	for range 16 {
		fd, err = unix.Openat2(base, name, &unix.OpenHow{
			Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) { // EAGAIN: a rename raced with a ".."
			break
		}
	}
	return fd, err
}

// dangling finds the first link on the way to a name that leads to nothing.
func dangling(base int, name string) (string, bool) {
	way := ""
	for part := range strings.SplitSeq(path.Clean("/" + name)[1:], "/") {
		way = path.Join(way, part)
		fd, err := openBelow(base, way, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return "", false // not even a link
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
			continue
		}
		if fd, err = openBelow(base, way, unix.O_PATH); err != nil {
			return way, errors.Is(err, unix.ENOENT)
		}
		unix.Close(fd)
	}
	return "", false
}

// Stat looks at a file without opening it.
func (r Root) Stat(name string) (st unix.Stat_t, err error) {
	f, err := r.Open(name, unix.O_PATH)
	if err != nil {
		return st, err
	}
	defer f.Close()
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return st, &fs.PathError{Op: "stat", Path: r.Call(name), Err: err}
	}
	return st, nil
}

// Read returns a regular file of at most limit bytes. Others are never opened: opening a
// device can act, and a FIFO waits.
func (r Root) Read(name string, limit int64) ([]byte, error) {
	at, err := r.Open(name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	st, err := at.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", r.Call(name))
	}
	// The very file looked at.
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(at.Fd())), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: r.Call(name), Err: errors.Unwrap(err)}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.Call(name), err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes", r.Call(name), limit)
	}
	return b, nil
}
