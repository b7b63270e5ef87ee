package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	blockSize = 512 // of stx_blocks, whatever the file system's is; statx(2)
	statMask  = unix.STATX_BASIC_STATS | unix.STATX_MNT_ID
	// stay holds a name below the directory that it is opened from, on its mount.
	stay = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
	// tries is how often a call is made that the kernel wants made again.
	tries = 16
)

// errStop ends a walk that has reached a bound.
var errStop = errors.New("stop")

type inode struct {
	major, minor uint32 // subvolumes of btrfs have their own
	ino          uint64
}

type walk struct {
	ctx     context.Context
	o       Options
	u       Usage
	mount   uint64 // id of the mount to stay on
	path    []string
	seen    map[inode]struct{} // that have several names
	buf     []byte             // for names, which are copied from it
	entries int

	deep, mounts, unread int // left out
	firstErr             error
}

func (w *walk) join(name string) string { return strings.Join(append(w.path, name), "/") }

// directory reads an open directory to its end. An error that is not errStop
// concerns this directory alone.
func (w *walk) directory(fd int) error {
	for {
		n, err := unix.ReadDirent(fd, w.buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOENT): // removed meanwhile
			return nil
		case err != nil:
			return err
		case n <= 0:
			return nil
		}
		_, _, names := unix.ParseDirent(w.buf[:n], -1, nil)
		for _, name := range names {
			if err := w.entry(fd, name); err != nil {
				return err
			}
		}
	}
}

// entry counts one name of a directory. Its error is errStop, or nil.
func (w *walk) entry(fd int, name string) error {
	if w.entries == w.o.Entries {
		w.u.Cut = append(w.u.Cut, fmt.Sprintf("stopped after %d entries", w.entries))
		return errStop
	}
	if w.entries++; w.entries%64 == 1 && w.ctx.Err() != nil {
		why := "stopped after " + fmt.Sprint(w.entries-1) + " entries: "
		if errors.Is(w.ctx.Err(), context.DeadlineExceeded) {
			why += "its time was over"
		} else {
			why += w.ctx.Err().Error()
		}
		w.u.Cut = append(w.u.Cut, why)
		return errStop
	}
	var st unix.Statx_t
	err := unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, statMask, &st)
	switch {
	case errors.Is(err, unix.ENOENT): // removed meanwhile
		return nil
	case err != nil:
		w.miss(err)
		return nil
	case st.Mnt_id != w.mount:
		w.mounts++
		return nil
	}
	kind := uint32(st.Mode) & unix.S_IFMT
	if kind == unix.S_IFDIR {
		w.u.Directories++
		w.u.Bytes += st.Blocks * blockSize
		return w.enter(fd, name)
	}
	first := w.once(&st)
	if first {
		w.u.Bytes += st.Blocks * blockSize
	}
	switch {
	case kind == unix.S_IFCHR && st.Rdev_major == 0 && st.Rdev_minor == 0:
		w.u.Whiteouts++ // overlayfs makes all of them names of one
	case kind == unix.S_IFREG && st.Size == 0 && w.marked(fd, name, "whiteout"):
		w.u.Whiteouts++
	case !first:
	case kind == unix.S_IFREG:
		w.u.Files++
		w.file(fd, name, &st)
	default:
		w.u.Others++
	}
	return nil
}

func (w *walk) miss(err error) {
	if w.unread++; w.firstErr == nil {
		w.firstErr = err
	}
}

// once reports whether an inode is met for the first time.
func (w *walk) once(st *unix.Statx_t) bool {
	if st.Nlink < 2 {
		return true
	}
	key := inode{st.Dev_major, st.Dev_minor, st.Ino}
	_, known := w.seen[key]
	w.seen[key] = struct{}{}
	return !known
}

// enter walks a directory. It may not be there any more, or be something else.
func (w *walk) enter(around int, name string) error {
	if len(w.path) == w.o.Depth {
		w.deep++
		return nil
	}
	fd, err := open(around, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil
	case errors.Is(err, unix.EXDEV):
		w.mounts++
		return nil
	case err != nil:
		w.miss(err)
		return nil
	}
	defer unix.Close(fd)
	if w.o.Marks != "" {
		var v [4]byte
		if n, err := unix.Fgetxattr(fd, w.o.Marks+"opaque", v[:]); err == nil && string(v[:n]) == "y" {
			w.u.Opaque++
		}
	}
	w.path = append(w.path, name)
	defer func() { w.path = w.path[:len(w.path)-1] }()
	if err := w.directory(fd); errors.Is(err, errStop) {
		return err
	} else if err != nil {
		w.miss(err)
	}
	return nil
}

// open opens a path below a directory; the caller closes it.
func open(dir int, path string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: stay}
	for range tries {
		fd, err = unix.Openat2(dir, path, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return fd, err
}
