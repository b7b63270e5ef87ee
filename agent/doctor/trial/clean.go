package trial

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	leafName  = "leaf"
	emptyTime = 3 * time.Second // for a cgroup whose processes were killed
)

// Names below a cgroup are no links and no mounts, unless somebody misleads.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

func openAt(dir int, name string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: beneath})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func readAt(dir int, name string) (string, error) {
	f, err := openAt(dir, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAnswer))
	return strings.TrimSpace(string(b)), err
}

func writeAt(dir int, name, text string) error {
	f, err := openAt(dir, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// clean removes the trial's cgroup below top, if it is there. What the tenant
// put into it is not touched.
func clean(top *os.File, name string) error {
	if name == "" {
		return errors.New("no name of a cgroup to remove")
	}
	dir, err := openAt(int(top.Fd()), name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(removeCgroup(int(dir.Fd()), leafName), dir.Close())
	}
	if err = errors.Join(err, removeCgroup(int(top.Fd()), name)); err != nil {
		return fmt.Errorf("cgroup %s is left: %w", name, err)
	}
	return nil
}

// removeCgroup removes an empty one. Killed processes leave theirs a moment
// after they are waited for.
func removeCgroup(parent int, name string) error {
	until := time.Now().Add(emptyTime)
	for {
		err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		switch {
		case err == nil, errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY) || time.Now().After(until):
			return &os.PathError{Op: "rmdir", Path: name, Err: err}
		}
		if err := awaitEvent(parent, name); err != nil {
			return err
		}
	}
}

// awaitEvent waits until a cgroup's cgroup.events change, or a tenth of a
// second: a change between the attempt and the look would not be seen.
func awaitEvent(parent int, name string) error {
	dir, err := openAt(parent, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := openAt(int(dir.Fd()), "cgroup.events", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.ReadAll(io.LimitReader(f, maxWords)); err != nil { // events are told from now on
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}, 100)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}
