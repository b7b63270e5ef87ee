package explain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// File is what the kernel tells of a file, in ids of the host.
type File struct {
	Kind  string `json:"kind"`
	Mode  string `json:"mode"` // octal
	Disk  IDs    `json:"disk"` // as the file system has them
	Host  IDs    `json:"host"` // as the mount shows them on the node
	Mount Mount  `json:"mount"`
}

// IDs are a uid and a gid; nil: not mapped, or not known.
type IDs struct {
	UID *uint32 `json:"uid"`
	GID *uint32 `json:"gid"`
}

// Mount is the mount that a file is on.
type Mount struct {
	Point    string            `json:"point"` // as processes there see it; may be hostile
	FSType   string            `json:"fs_type"`
	Device   string            `json:"device"`
	Idmapped bool              `json:"idmapped"`
	UIDMap   []identity.Extent `json:"uid_map,omitempty"` // first: on disk, host: as shown on the node
	GIDMap   []identity.Extent `json:"gid_map,omitempty"`
	Note     string            `json:"note,omitempty"` // what the kernel does not tell
}

const (
	lookLimit    = 10 * time.Second // a dead NFS server, or a tenant's FUSE, may never answer
	maxMountinfo = 32 << 20
	overflowID   = 65534
)

// LookNode looks at a path of the node. In a pod with hostPID the node's files
// are those of its pid 1.
func LookNode(ctx context.Context, proc, path string) (File, error) {
	if filepath.IsAbs(path) && elsewhere(filepath.Join(proc, "1", "root")) {
		return LookInside(ctx, proc, 1, path)
	}
	return within(ctx, path, func() (File, error) {
		f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return File{}, err
		}
		defer f.Close()
		return look(f, proc, filepath.Join(proc, "self"))
	})
}

// elsewhere reports whether a directory is another than our own root.
func elsewhere(root string) bool {
	there, err := os.Stat(root + "/.")
	if err != nil {
		return false // not root: what we see ourselves has to do
	}
	here, err := os.Stat("/.")
	return err == nil && !os.SameFile(there, here)
}

// LookInside looks at a path below the root of a process, whatever the tenant
// put there: links end at that root, links of procfs are refused, and one at the
// end is what is looked at. Whoever calls makes sure afterwards that the process
// is the one meant.
func LookInside(ctx context.Context, proc string, pid int, path string) (File, error) {
	dir, err := os.OpenFile(filepath.Join(proc, strconv.Itoa(pid)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return File{}, fmt.Errorf("open process %d: %w", pid, err)
	}
	return within(ctx, path, func() (File, error) {
		defer dir.Close()
		root, err := evidence.OpenRoot(proc, pid)
		if err != nil {
			return File{}, err
		}
		defer root.Close()
		f, err := root.Look(path)
		if err != nil {
			return File{}, err
		}
		defer f.Close()
		// Of the process that was opened, also if its pid is another's by now.
		return look(f, proc, "/proc/self/fd/"+strconv.Itoa(int(dir.Fd())))
	})
}

// within calls f, and no longer waits for it after a while; f keeps its
// goroutine then.
func within(ctx context.Context, path string, f func() (File, error)) (File, error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	type answer struct {
		file File
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		file, err := f()
		done <- answer{file, err}
	}()
	select {
	case a := <-done:
		return a.file, a.err
	case <-ctx.Done():
		return File{}, fmt.Errorf("look at %q: no answer: its file system does not respond: %w", path, ctx.Err())
	}
}

// look asks the kernel about an open file, which is in the mount namespace of
// the process with a directory in procfs.
func look(f *os.File, proc, process string) (File, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		return File{}, fmt.Errorf("look at %q: %w", f.Name(), err)
	}
	uid, gid := st.Uid, st.Gid
	out := File{
		Kind: kindOf(uint32(st.Mode)), Mode: fmt.Sprintf("%04o", st.Mode&0o7777),
		Host: IDs{&uid, &gid}, Disk: IDs{&uid, &gid},
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		out.Mount.Note = "this kernel does not tell what the file is mounted on: Linux 5.8 and later do"
		return out, nil
	}
	var err error
	out.Mount, err = readMount(filepath.Join(process, "mountinfo"), st.Mnt_id)
	if errors.Is(err, errNoMount) {
		out.Mount.Note = err.Error()
		return out, nil
	}
	if err != nil || !out.Mount.Idmapped {
		return out, err
	}
	m, err := mapOf(f, process)
	if err != nil {
		out.Mount.Note = err.Error()
	}
	out.Mount.UIDMap, out.Mount.GIDMap = m.UIDs, m.GIDs
	out.Disk, out.Host = throughMount(out.Mount, IDs{&uid, &gid}, Overflow(proc), err == nil)
	if disk, ok := withoutMap(f); ok {
		out.Disk = disk
	}
	return out, nil
}
