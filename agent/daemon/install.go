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

	"github.com/eyas-agent/eyas/manifests"
)

// installProfiles writes the seccomp profiles of sandboxes to a directory of the node,
// whose root directory is root. A file that is right already is left alone, others are
// replaced as a whole: a container that starts meanwhile has the old one or the new
// one. Links that lead out of root are refused. It returns the names of what it wrote.
func installProfiles(root, dir string) (written []string, err error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("install profiles: %w", err)
	}
	defer r.Close()
	dir = path.Clean("./" + dir)
	if err := r.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("install profiles: %w", err)
	}
	all := manifests.Profiles()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		to := path.Join(dir, name)
		if b, err := r.ReadFile(to); err == nil && bytes.Equal(b, all[name]) {
			continue
		}
		if err := replaceFile(r, to, all[name]); err != nil {
			return written, fmt.Errorf("install profile: %w", err)
		}
		written = append(written, name)
	}
	return written, nil
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
