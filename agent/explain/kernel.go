package explain

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openTreeAttr clones the mount of one file, with other attributes. It has no
// wrapper in golang.org/x/sys.
func openTreeAttr(f *os.File, attr *unix.MountAttr) (int, error) {
	empty := [1]byte{}
	fd, _, errno := unix.Syscall6(unix.SYS_OPEN_TREE_ATTR, f.Fd(), uintptr(unsafe.Pointer(&empty[0])),
		unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr), 0)
	runtime.KeepAlive(f)
	runtime.KeepAlive(attr)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

var kinds = map[uint32]string{
	unix.S_IFREG: "regular file", unix.S_IFDIR: "directory", unix.S_IFLNK: "symbolic link", unix.S_IFIFO: "FIFO",
	unix.S_IFSOCK: "socket", unix.S_IFCHR: "character device", unix.S_IFBLK: "block device",
}

func kindOf(mode uint32) string {
	if k, known := kinds[mode&unix.S_IFMT]; known {
		return k
	}
	return "file of an unknown kind"
}
