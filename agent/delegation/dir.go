package delegation

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// dir is an open directory of cgroup2. All it does is relative to the
// descriptor, one name at a time. Its errors are bare errnos.
type dir struct{ *os.File }

// resolve is how names below a directory are found. Nothing in a cgroup2
// hierarchy is a link or a mount point, unless somebody put a mount there to mislead.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

func (d dir) fd() int { return int(d.Fd()) }

// at opens what is below d. An empty name is d itself.
func (d dir) at(name string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	if name == "" {
		name = "."
	}
	for range 64 {
		fd, err := unix.Openat2(d.fd(), name, &how)
		// EAGAIN: something was renamed or mounted meanwhile, openat2(2).
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	return nil, unix.EAGAIN
}

// sub opens a directory below d.
func (d dir) sub(name string) (dir, error) {
	f, err := d.at(name, unix.O_RDONLY|unix.O_DIRECTORY)
	return dir{f}, err
}

// maxRead bounds a file, in bytes: cgroup.procs of a cgroup with all the pids
// that a kernel can have (4 Mi) is smaller.
const maxRead = 64 << 20

func (d dir) read(name string) (string, error) {
	f, err := d.at(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRead))
	return strings.TrimSpace(string(b)), bare(err)
}

func (d dir) write(name, text string) error {
	f, err := d.at(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return bare(err)
}

// bare strips what package os puts around an errno; StepError says the rest.
func bare(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func (d dir) mkdir(name string) error { return unix.Mkdirat(d.fd(), name, 0o755) }
func (d dir) rmdir(name string) error { return unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR) }

// owner is a host uid and gid.
type owner struct{ uid, gid uint32 }

func (o owner) String() string { return fmt.Sprintf("%d:%d", o.uid, o.gid) }

func (d dir) owner(name string) (owner, error) {
	f, err := d.at(name, unix.O_PATH)
	if err != nil {
		return owner{}, err
	}
	defer f.Close()
	return ownerOf(f)
}

func ownerOf(f *os.File) (owner, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return owner{}, err
	}
	return owner{st.Uid, st.Gid}, nil
}

// chown gives a file of d, or d itself, to o. It reports whether that changed
// anything.
func (d dir) chown(name string, o owner) (bool, error) {
	f, err := d.at(name, unix.O_PATH)
	if err != nil {
		return false, err
	}
	defer f.Close()
	old, err := ownerOf(f)
	if err != nil || old == o {
		return false, err
	}
	return true, unix.Fchownat(int(f.Fd()), "", int(o.uid), int(o.gid), unix.AT_EMPTY_PATH)
}

// id is the cgroup's id: in cgroup2 the inode number, which is never reused.
func (d dir) id() (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(d.fd(), &st)
	return st.Ino, err
}

// checkType refuses what is not on cgroup2.
func (d dir) checkType() error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd(), &st); err != nil {
		return err
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("%w: not a cgroup2 file system (type %#x)", ErrRefused, st.Type)
	}
	return nil
}

// names lists what is in d.
func (d dir) names() ([]os.DirEntry, error) {
	f, err := d.at("", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.ReadDir(-1)
	return all, bare(err)
}
