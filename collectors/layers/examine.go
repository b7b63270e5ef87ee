package layers

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/disk"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// maxDepth is the kernel's FILESYSTEM_MAX_STACK_DEPTH: an overlay upon an
// overlay, and no more.
const maxDepth = 2

// tries is how often two looks at a directory are compared: it may change between
// them.
const tries = 8

// examine finds the upper directory of an overlay and adds it up.
func (j found) examine(ctx context.Context, proc string, files int) (Overlay, error) {
	o := j.Overlay
	root, err := evidence.OpenRoot(proc, int(j.in.Init.PID))
	if err != nil {
		return o, err
	}
	defer root.Close()
	if !evidence.SameProcess(proc, int(j.in.Init.PID), j.in.Init.Start) {
		return o, errGone
	}
	at, err := root.Look(o.Point)
	if err != nil {
		return o, err
	}
	defer at.Close()
	st, err := stat(at)
	switch {
	case err != nil:
		return o, err
	case st.Mnt_id != j.mount.ID:
		return o, errors.New("another mount hides it")
	case j.mount.Upper == "":
		return o, errors.New("it is read-only: it has no upper layer")
	}
	upper, around, err := j.findUpper(proc, at)
	if err != nil {
		return o, err
	}
	defer upper.Close()
	defer around.Close()
	if err := o.place(proc, upper, around); err != nil {
		return o, err
	}
	lowers := around.openAll(j.mount.Lowers)
	defer closeAll(lowers)
	o.Depth = depthOf(lowers)
	dir, err := reopen(upper)
	if err != nil {
		return o, fmt.Errorf("open its upper directory: %w", err)
	}
	defer dir.Close()
	w := disk.Options{Files: files, Marks: marks(j.mount.UserXattr)}
	if len(lowers) == len(j.mount.Lowers) && !hasNil(lowers) {
		w.Lowers = lowers
	}
	u, err := disk.Walk(ctx, dir, w)
	if err != nil {
		return o, err
	}
	o.Usage = &u
	return o, nil
}

// marks returns how the names of an overlay's marks begin, "" if the kernel does
// not show them to us.
func marks(user bool) string {
	if user {
		return "user.overlay."
	}
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return ""
	}
	return "trusted.overlay."
}

// depthOf is 2 if a lower layer is an overlay, 1 if none is, and nil if some are
// not known.
func depthOf(lowers []*os.File) *int {
	depth := 1
	for _, l := range lowers {
		var st unix.Statfs_t
		if l == nil || unix.Fstatfs(int(l.Fd()), &st) != nil {
			depth = 0
			continue
		}
		if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
			two := maxDepth
			return &two
		}
	}
	if depth == 0 {
		return nil
	}
	return &depth
}

func hasNil(files []*os.File) bool {
	for _, f := range files {
		if f == nil {
			return true
		}
	}
	return false
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // only looked at
		}
	}
}

// reopen opens a directory that was only looked at for reading.
func reopen(dir *os.File) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), ".", &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), dir.Name()), nil
}

func stat(f *os.File) (st unix.Statx_t, err error) {
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID, &st); err != nil {
		return st, fmt.Errorf("look at %q: %w", f.Name(), err)
	}
	return st, nil
}
