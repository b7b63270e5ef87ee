package prepare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// mountFiles binds the two files, read-only, over those of the container that
// the target's process is in. Nothing in the container is written, and no link
// of its is followed.
func (p *Preparer) mountFiles(t Target, r Result) error {
	dir, err := p.writeFiles(r)
	if err != nil {
		return err
	}
	var trees []*os.File
	defer func() {
		for _, f := range trees {
			f.Close()
		}
	}()
	for _, name := range fileNames {
		f, err := cloneMount(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		trees = append(trees, f)
	}
	proc, err := openProcess(p.o.Host.Proc, t)
	if err != nil {
		return err
	}
	defer proc.Close()
	ns, err := proc.open("ns/mnt", unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open the container's mount namespace: %w", err)
	}
	defer ns.Close()
	root, err := proc.open("root", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open the container's root: %w", err)
	}
	defer root.Close()
	own, err := proc.ownMounts(p.o.Host.Proc)
	if err != nil {
		return err
	}
	return inMountNamespace(ns, func() error {
		for i, name := range fileNames {
			if err := attach(trees[i], int(root.Fd()), "etc/"+name, own); err != nil {
				return err
			}
			p.o.fault(name + " mounted")
		}
		return nil
	})
}

// cloneMount makes a detached mount of one file that nobody can write through.
func cloneMount(path string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("clone mount of %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	attr := unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC,
		Propagation: unix.MS_PRIVATE,
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return nil, errors.Join(fmt.Errorf("make mount of %s read-only: %w", path, err), f.Close())
	}
	return f, nil
}

// attach mounts a tree over a file of a container, unless it is there already.
// own has the mounts in which only the container sees it.
func attach(tree *os.File, root int, name string, own map[uint64]bool) error {
	to, err := openFile(root, name)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	var ours unix.Stat_t
	var there unix.Statx_t
	if err := errors.Join(
		unix.Statx(to, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &there), unix.Fstat(int(tree.Fd()), &ours),
	); err != nil {
		return fmt.Errorf("look at /%s of the container: %w", name, err)
	}
	switch {
	case unix.Mkdev(there.Dev_major, there.Dev_minor) == ours.Dev && there.Ino == ours.Ino:
		return nil
	case there.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("/%s of the container is no regular file: give the image an (empty) file there", name)
	case there.Mask&unix.STATX_MNT_ID == 0:
		return fmt.Errorf("look at /%s of the container: this kernel does not tell what it is mounted on: Linux 5.8 or later does", name)
	case !own[there.Mnt_id]:
		return fmt.Errorf("/%s of the container is on a mount that is not its alone, and the host's files are not touched: start it with a mount namespace, private mounts and a root (pivot_root) of its own", name)
	}
	if err := unix.MoveMount(int(tree.Fd()), "", to, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount over /%s of the container: %w", name, err)
	}
	return nil
}

// openFile opens a path of a container without following any link: the
// directories in it are the tenant's too.
func openFile(root int, name string) (int, error) {
	how := unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	var err error
	for range 64 {
		var fd int
		switch fd, err = unix.Openat2(root, name, &how); {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.ELOOP):
			return -1, fmt.Errorf("open /%s of the container: %w: a link is in the path, which eyas does not follow: give the image a file there", name, err)
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return -1, fmt.Errorf("open /%s of the container: %w: give the image an (empty) file there", name, err)
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR): // openat2(2): renamed meanwhile
			continue
		}
		break
	}
	return -1, fmt.Errorf("open /%s of the container: %w", name, err)
}

// inMountNamespace runs f on a thread of its own inside a mount namespace. The
// thread ends with f.
func inMountNamespace(ns *os.File, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread never ends, and would keep the namespace. While it
			// waits here, locked, the next goroutine gets another.
			done <- inMountNamespace(ns, f)
			runtime.UnlockOSThread()
			return
		}
		// Not unlocked: the runtime ends the thread with the goroutine.
		// A thread that shares its root with others cannot change namespaces.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			done <- fmt.Errorf("leave the process's root: %w", err)
			return
		}
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			done <- fmt.Errorf("enter the container's mount namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// process is the directory of a process in procfs. It stays that process's:
// nothing can be opened in it once the process has ended, whoever has the pid.
type process struct{ *os.File }

// openProcess opens the process of a target, and makes sure that it is in the
// target's cgroup: its pid may be another's since the target was described.
func openProcess(proc string, t Target) (process, error) {
	f, err := os.OpenFile(filepath.Join(proc, strconv.FormatUint(uint64(t.PID), 10)), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return process{}, noProcess(err)
	}
	p := process{f}
	if err := p.checkCgroup(t.Cgroup); err != nil {
		return process{}, errors.Join(err, f.Close())
	}
	return p, nil
}

func (p process) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(p.Fd()), name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, noProcess(err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
