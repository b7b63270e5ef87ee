// Package cgroups reads the cgroup v2 hierarchy: where a cgroup is, what its
// limits are, and what it has used.
//
// What enters: cgroup ids from the kernel and paths made from them, and the
// containers of the identity table. What leaves: paths below the mount point, and
// Prometheus series of containers. It opens cgroup directories
// of this node read-only and never writes.
package cgroups

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// ErrNoHierarchy means that no cgroup v2 hierarchy is mounted here.
var ErrNoHierarchy = errors.New("no cgroup2 file system is mounted: mount one at /sys/fs/cgroup")

// Hierarchy is the mounted cgroup v2 hierarchy. Safe for concurrent use.
type Hierarchy struct {
	mount string
	dir   *os.File
}

// Open finds where cgroup2 is mounted in this mount namespace: on a node that
// also has v1 hierarchies it is not /sys/fs/cgroup itself.
func Open(procRoot string) (*Hierarchy, error) {
	fs, err := procfs.NewFS(procRoot)
	if err != nil {
		return nil, fmt.Errorf("open procfs: %w", err)
	}
	self, err := fs.Self()
	if err != nil {
		return nil, fmt.Errorf("read own process: %w", err)
	}
	mounts, err := self.MountInfo()
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range mounts {
		if m.FSType != "cgroup2" {
			continue
		}
		dir, err := os.Open(m.MountPoint)
		if err != nil {
			return nil, fmt.Errorf("open cgroup2 mount: %w", err)
		}
		return &Hierarchy{mount: m.MountPoint, dir: dir}, nil
	}
	return nil, ErrNoHierarchy
}

// Close releases the mount.
func (h *Hierarchy) Close() error { return h.dir.Close() }

// Mount returns the mount point.
func (h *Hierarchy) Mount() string { return h.mount }

// fileIDKernfs is FILEID_KERNFS of include/linux/exportfs.h: the handle of a
// cgroup directory is its 64-bit id.
const fileIDKernfs = 0xfe

// Path returns the path of a cgroup below the mount point ("/" is the root),
// or "" when it does not exist any more. Needs CAP_DAC_READ_SEARCH.
func (h *Hierarchy) Path(id uint64) string {
	var raw [8]byte
	binary.NativeEndian.PutUint64(raw[:], id)
	fd, err := unix.OpenByHandleAt(int(h.dir.Fd()), unix.NewFileHandle(fileIDKernfs, raw[:]), unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return ""
	}
	// The kernel marks a removed directory; but a tenant may also name one so.
	if strings.HasSuffix(path, " (deleted)") {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Ino != id {
			return ""
		}
	}
	rel, err := filepath.Rel(h.mount, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return ""
	}
	if rel == "." {
		return "/"
	}
	return "/" + rel
}
