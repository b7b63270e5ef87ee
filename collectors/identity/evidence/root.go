package evidence

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Root is the root directory of one sandbox, through which its own files are
// read. Methods may run concurrently, also with Close, which makes later ones
// fail.
type Root struct{ dir *os.File }

// OpenRoot opens the root of process pid of the pid namespace that procfs
// shows: a sandbox's first process for its files, pid 1 for the node's. It pins
// that directory, so a process that exits or pivots afterwards changes nothing;
// that pid was the process meant, the caller makes sure of.
func OpenRoot(procfs string, pid int) (*Root, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("open root of process %d: not a pid", pid)
	}
	path := filepath.Join(procfs, strconv.Itoa(pid), "root")
	dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root of process %d: %w", pid, err)
	}
	return &Root{dir: dir}, nil
}

// Close closes the root.
func (r *Root) Close() error { return r.dir.Close() }

// open opens path, below the root whatever the tenant does meanwhile: absolute
// links and ".." end at the root (RESOLVE_IN_ROOT), and links of procfs, which
// leave it, are refused (RESOLVE_NO_MAGICLINKS); openat2(2).
//
// Links in the middle are followed, because they are common in honest
// sandboxes: /var/lib/docker or /var/lib/containers on a volume, /home of
// ostree systems. They lead to nothing that the tenant could not have put there
// itself. The last component may not be a link: the tools put a regular file
// in place with a rename.
func (r *Root) open(path string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_PATH != 0 {
		how.Flags = flags | unix.O_NOFOLLOW | unix.O_CLOEXEC // all that O_PATH may stand with
	}
	conn, err := r.dir.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	// EAGAIN: something was renamed while the kernel went through "..", and it
	// could not prove that it stayed inside. A tenant can keep that up.
	var openErr error
	for try := 0; try < 16; try++ {
		if err := conn.Control(func(root uintptr) { fd, openErr = unix.Openat2(int(root), path, &how) }); err != nil {
			return nil, err
		}
		if openErr != unix.EAGAIN && openErr != unix.EINTR {
			break
		}
	}
	if openErr != nil {
		return nil, openErr
	}
	return os.NewFile(uintptr(fd), path), nil
}

// read returns the content of a regular file of at most limit bytes. It looks
// through an O_PATH descriptor first, so that a device, FIFO or socket is never
// opened: opening alone can act (a watchdog, a tape).
//
// It reads no more than the size it saw. Files of procfs and tracefs, which a
// tenant may mount over any path and some of which consume what is read or
// wait, have size 0 and are thus never read.
func (r *Root) read(path string, limit int64) ([]byte, error) {
	b, err := r.readFile(path, limit)
	if err != nil {
		return nil, fmt.Errorf("read %q below a sandbox's root: %w", path, err)
	}
	return b, nil
}

func (r *Root) readFile(path string, limit int64) ([]byte, error) {
	at, err := r.open(path, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	info, err := at.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: mode %v", info.Mode())
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%d bytes, more than %d", info.Size(), limit)
	}
	if info.Size() == 0 {
		return nil, nil
	}
	// The very file looked at, opened anew through our own descriptor table.
	self := "/proc/self/fd/" + strconv.Itoa(int(at.Fd()))
	f, err := os.OpenFile(self, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, info.Size()))
}

// list returns up to limit names of a directory, in the directory's own order.
func (r *Root) list(path string, limit int) ([]string, error) {
	// "/." lets the directory itself be a link, as /home is on ostree systems.
	d, err := r.open(path+"/.", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("list %q below a sandbox's root: %w", path, err)
	}
	defer d.Close()
	names, err := d.Readdirnames(limit)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %q below a sandbox's root: %w", path, err)
	}
	return names, nil
}
