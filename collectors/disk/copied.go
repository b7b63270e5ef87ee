package disk

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// oneBlock is a block of most file systems.
const oneBlock = 4096

// file counts a regular file that was copied up.
//
// Not covered: overlayfs sets no mark on a copy of a lower file that had several
// names, unless it was mounted with index=on.
func (w *walk) file(fd int, name string, st *unix.Statx_t) {
	switch w.u.CopiedUp.By {
	case ByOrigin:
		if !w.marked(fd, name, "origin") {
			return
		}
		if w.marked(fd, name, "metacopy") {
			w.u.CopiedUp.MetadataOnly++
			return
		}
	case ByLower:
		// Without marks a copy of metadata alone looks like a file that is all
		// hole, but for a block of attributes.
		if st.Blocks*blockSize <= oneBlock && st.Size > oneBlock || !w.below(w.join(name)) {
			return
		}
	default:
		return
	}
	bytes := st.Blocks * blockSize
	w.u.CopiedUp.Files++
	w.u.CopiedUp.Bytes += bytes
	w.keep(name, st.Size, bytes)
}

// marked reports whether overlayfs has set a mark on a file. Before Linux 6.13
// there is no getxattrat: the way leads through our own descriptor of the
// directory, and the name is not followed.
func (w *walk) marked(fd int, name, mark string) bool {
	if w.o.Marks == "" {
		return false
	}
	_, err := unix.Lgetxattr("/proc/self/fd/"+strconv.Itoa(fd)+"/"+name, w.o.Marks+mark, nil)
	return err == nil
}

// below reports whether the first lower layer that has the path has a regular
// file there.
func (w *walk) below(path string) bool {
	for _, l := range w.o.Lowers {
		fd, err := open(int(l.Fd()), path, unix.O_PATH)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return false
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
	}
	return false
}
