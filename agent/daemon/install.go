package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/hostfs"
	"github.com/eyas-agent/eyas/manifests"
)

// installProfiles writes the seccomp profiles of sandboxes to a directory of the node,
// whose root directory is root. A file that is right already is left alone, others are
// replaced as a whole: a container that starts meanwhile has the old one or the new
// one. Links on the way to the directory are the node's, and end inside root. It returns
// the names of what it wrote.
func installProfiles(root, dir string) (written []string, err error) {
	r, err := makeDir(hostfs.Root{Path: root}, dir)
	if err != nil {
		return nil, fmt.Errorf("install profiles: %w", err)
	}
	defer r.Close()
	all := manifests.Profiles()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if b, err := r.ReadFile(name); err == nil && bytes.Equal(b, all[name]) {
			continue
		}
		if err := replaceFile(r, name, all[name]); err != nil {
			return written, fmt.Errorf("install profile: %w", err)
		}
		written = append(written, name)
	}
	return written, nil
}

// makeDir opens a directory of the node, and makes what there is not of it.
func makeDir(node hostfs.Root, dir string) (*os.Root, error) {
	there, missing := path.Clean("/"+dir), ""
	at, err := node.Open(there, unix.O_PATH|unix.O_DIRECTORY)
	for errors.Is(err, fs.ErrNotExist) && there != "/" {
		there, missing = path.Dir(there), path.Join(path.Base(there), missing)
		at, err = node.Open(there, unix.O_PATH|unix.O_DIRECTORY)
	}
	if err != nil {
		return nil, err
	}
	defer at.Close()
	r, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(at.Fd())))
	if err != nil || missing == "" {
		return r, err
	}
	defer r.Close()
	if err := r.MkdirAll(missing, 0o755); err != nil {
		return nil, err
	}
	return r.OpenRoot(missing)
}

// replaceFile writes a file aside, makes it last, and renames it.
func replaceFile(r *os.Root, name string, b []byte) error {
	aside := name + ".new"
	if err := r.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := r.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = r.Rename(aside, name)
	}
	return err
}
