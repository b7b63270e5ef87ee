package delegation

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// fallbackFiles is what may be given away on a kernel without
// /sys/kernel/cgroup/delegate: the files that cgroup-v2.rst names, "Model of
// Delegation".
var fallbackFiles = []string{"cgroup.procs", "cgroup.threads", "cgroup.subtree_control"}

// Hierarchy is a mounted cgroup v2 hierarchy. Safe for concurrent use; calls
// about the same cgroup should come one after the other.
type Hierarchy struct {
	mount string
	root  dir
	id    uint64   // of the root
	files []string // that may be given away
}

// Open opens the hierarchy that is mounted at mount, and reads below sysRoot
// (usually /sys) which files the kernel lets be delegated. The error wraps ErrRefused
// if mount is no cgroup2.
func Open(mount, sysRoot string) (*Hierarchy, error) {
	if !filepath.IsAbs(mount) {
		return nil, fmt.Errorf("%w: cgroup2 mount %q is not an absolute path", ErrRefused, mount)
	}
	files, err := delegateFiles(sysRoot)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(mount, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup2 mount: %w", err)
	}
	h := &Hierarchy{mount: filepath.Clean(mount), root: dir{f}, files: files}
	if err := h.root.checkType(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", mount, err)
	}
	h.id, err = h.root.id()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read id of %s: %w", mount, err)
	}
	return h, nil
}

// Close releases the mount.
func (h *Hierarchy) Close() error { return h.root.Close() }

// Files returns the names of the files that are given away with a cgroup. Not
// every cgroup has all of them.
func (h *Hierarchy) Files() []string { return slices.Clone(h.files) }

// delegateFiles reads the kernel's list.
func delegateFiles(sysRoot string) ([]string, error) {
	f, err := os.Open(filepath.Join(sysRoot, "kernel/cgroup/delegate"))
	if errors.Is(err, fs.ErrNotExist) {
		return slices.Clone(fallbackFiles), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the kernel's list of delegatable files: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read the kernel's list of delegatable files: %w", err)
	}
	return parseDelegate(string(b))
}

// parseDelegate refuses what is not a file of a cgroup, and a list without
// cgroup.procs: something else would have been mounted over it.
func parseDelegate(s string) ([]string, error) {
	files := strings.Fields(s)
	for _, f := range files {
		if !strings.Contains(f, ".") || !only(f, "abcdefghijklmnopqrstuvwxyz0123456789_.") || strings.Contains(f, "..") {
			return nil, fmt.Errorf("%w: the kernel's list of delegatable files has %q", ErrRefused, f)
		}
	}
	if !slices.Contains(files, "cgroup.procs") {
		return nil, fmt.Errorf("%w: the kernel's list of delegatable files lacks cgroup.procs", ErrRefused)
	}
	return files, nil
}

// only reports whether s consists of bytes of set.
func only(s, set string) bool { return strings.Trim(s, set) == "" }

// MountOptions are the flags of a cgroup2 mount. All but ReadWrite belong to
// the one superblock: whoever may remount it anywhere changes them for all.
type MountOptions struct {
	MountPoint    string
	ReadWrite     bool
	NSDelegate    bool // cgroup namespaces are delegation boundaries
	RecursiveProt bool // memory_recursiveprot
}

// ReadMountOptions finds the first cgroup2 mount of this process's mount
// namespace. It only reads; callers ask again, since another container can strip
// nsdelegate at any time. The error wraps fs.ErrNotExist if none is mounted.
func ReadMountOptions(procRoot string) (MountOptions, error) {
	p, err := procfs.NewFS(procRoot)
	if err != nil {
		return MountOptions{}, fmt.Errorf("open procfs: %w", err)
	}
	self, err := p.Self()
	if err != nil {
		return MountOptions{}, fmt.Errorf("read own process: %w", err)
	}
	mounts, err := self.MountInfo()
	if err != nil {
		return MountOptions{}, fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range mounts {
		if m.FSType != "cgroup2" {
			continue
		}
		has := func(of map[string]string, name string) bool { _, ok := of[name]; return ok }
		return MountOptions{
			MountPoint:    m.MountPoint,
			ReadWrite:     has(m.Options, "rw") && has(m.SuperOptions, "rw"),
			NSDelegate:    has(m.SuperOptions, "nsdelegate"),
			RecursiveProt: has(m.SuperOptions, "memory_recursiveprot"),
		}, nil
	}
	return MountOptions{}, fmt.Errorf("no cgroup2 file system is mounted: mount one at /sys/fs/cgroup: %w", fs.ErrNotExist)
}
