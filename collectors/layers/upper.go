package layers

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// maxPlaces bounds where on the node a directory is looked for.
const maxPlaces = 64

var errNoUpper = errors.New("its upper directory was not found: whoever mounted it saw it by another path, or has ended")

// surroundings are the root below which the paths of an overlay's layers lead to
// them.
type surroundings struct {
	pid   identity.HostPID
	root  *evidence.Root
	upper string // the path of the upper directory there
}

func (s surroundings) Close() { _ = s.root.Close() } // only read

// openAll looks at directories; nil for one that is not there.
func (s surroundings) openAll(paths []string) []*os.File {
	all := make([]*os.File, len(paths))
	for i, p := range paths {
		if !path.IsAbs(p) {
			continue // below the directory in which the mounter was
		}
		if f, err := s.root.Look(p + "/."); err == nil {
			all[i] = f
		}
	}
	return all
}

// findUpper looks for the upper directory of an overlay below the roots of those
// who may have mounted it. The caller closes both.
func (j found) findUpper(proc string, overlay *os.File) (*os.File, surroundings, error) {
	if !path.IsAbs(j.mount.Upper) {
		return nil, surroundings{}, errors.New("its upper directory was mounted by a path that only its mounter understands: " + j.mount.Upper)
	}
	for _, pid := range append(j.in.Mounters[:len(j.in.Mounters):len(j.in.Mounters)], node(proc)) {
		root, err := evidence.OpenRoot(proc, int(pid))
		if err != nil {
			continue // it has ended
		}
		// Overlayfs itself takes a backslash for an escape, and may show it.
		for _, p := range []string{j.mount.Upper, strings.ReplaceAll(j.mount.Upper, `\`, "")} {
			f, err := root.Look(p + "/.")
			if err != nil {
				continue
			}
			if isUpper(f, overlay) {
				return f, surroundings{pid, root, p}, nil
			}
			_ = f.Close() // only looked at
		}
		_ = root.Close()
	}
	return nil, surroundings{}, errNoUpper
}

// isUpper reports whether a directory is the upper one of an overlay. The root of
// an overlay shows times, mode and size of its upper directory, and statfs its file
// system. Nobody can set the time of a change (ctime) or of birth, so two directories
// have the same to the nanosecond only if they were made and changed together.
func isUpper(dir, overlay *os.File) bool {
	for range tries {
		var a, b unix.Statfs_t
		if unix.Fstatfs(int(overlay.Fd()), &a) != nil || unix.Fstatfs(int(dir.Fd()), &b) != nil || a.Type != unix.OVERLAYFS_SUPER_MAGIC {
			return false
		}
		x, err := stat(overlay)
		if err != nil {
			return false
		}
		y, err := stat(dir)
		if err != nil {
			return false
		}
		if x.Mode == y.Mode && x.Ctime == y.Ctime && x.Mtime == y.Mtime && x.Btime == y.Btime && x.Size == y.Size &&
			a.Blocks == b.Blocks && a.Frsize == b.Frsize {
			return true
		}
	}
	return false
}

// place tells the upper directory's file system, and where the node has it.
func (o *Overlay) place(proc string, upper *os.File, around surroundings) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(upper.Fd()), &fs); err != nil {
		return err
	}
	unit := uint64(fs.Frsize)
	available, size := fs.Bavail*unit, fs.Blocks*unit
	o.Available, o.Size = &available, &size
	st, err := stat(upper)
	if err != nil {
		return err
	}
	seen, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(upper.Fd())))
	if err != nil {
		return err
	}
	o.Upper = path.Join(proc, strconv.Itoa(int(around.pid)), "root") + around.upper
	var m evidence.Mount
	for _, x := range mounts(proc, around.pid) {
		if x.ID == st.Mnt_id {
			m = x
		}
	}
	o.FSType = m.FSType
	here := node(proc)
	// A process that is chrooted has mount points and paths below its root, while
	// the kernel tells what is seen from the root of the mount namespace.
	for _, p := range append(places(m, seen, mounts(proc, here)), places(m, around.upper, mounts(proc, here))...) {
		if isAt(proc, here, p, st) {
			o.Upper = p
			break
		}
	}
	return nil
}

// node is the process whose root is the node's: the first, or this one where
// that is not shown to us.
func node(proc string) identity.HostPID {
	root, err := evidence.OpenRoot(proc, 1)
	if err != nil {
		return identity.HostPID(os.Getpid())
	}
	_ = root.Close() // only looked at
	return 1
}

func mounts(proc string, pid identity.HostPID) []evidence.Mount {
	text, err := evidence.ReadMountinfo(proc, int(pid))
	if err != nil {
		return nil // the path below the root of the mounter has to do
	}
	return evidence.Mounts(strings.NewReader(text))
}

// places are paths by which the node may have the directory at path seen of a
// mount: the same one, and those through its own mounts of the file system.
func places(m evidence.Mount, seen string, node []evidence.Mount) []string {
	all := []string{seen}
	rest, ok := below(seen, m.Point)
	if !ok || m.Device == "" {
		return all
	}
	inside := path.Join(m.Root, rest)
	for _, n := range node {
		if n.Device != m.Device || len(all) == maxPlaces {
			continue
		}
		if rest, ok := below(inside, n.Root); ok {
			all = append(all, path.Join(n.Point, rest))
		}
	}
	return all
}

// below returns what of a path is below a directory.
func below(p, dir string) (rest string, ok bool) {
	if dir == "/" {
		return p, true
	}
	rest, ok = strings.CutPrefix(p, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// isAt reports whether the node has a directory at a path.
func isAt(proc string, node identity.HostPID, p string, want unix.Statx_t) bool {
	root, err := evidence.OpenRoot(proc, int(node))
	if err != nil {
		return false
	}
	defer root.Close()
	f, err := root.Look(p + "/.")
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := stat(f)
	return err == nil && st.Ino == want.Ino && st.Dev_major == want.Dev_major && st.Dev_minor == want.Dev_minor
}
