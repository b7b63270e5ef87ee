package kubelet

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/hostfs"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Bounds of what is read; the largest nodes have some 1000 pods, and kubelet
// gives each one mapping.
const (
	maxPods     = 10_000
	maxBytes    = 64 << 10
	maxMappings = 16
)

// Record is what kubelet has on disk of one pod.
type Record struct {
	Pod     string // name of the directory, as found: the pod's uid
	Path    string
	Written time.Time // when kubelet wrote it: it never rewrites one
	UIDs    identity.UIDMap
	GIDs    identity.GIDMap
}

// Bad is a record that cannot be read.
type Bad struct {
	Pod  string
	Path string
	Err  error
}

// Read returns the records below kubelet's root directory dir of a node, sorted by pod.
// A directory that does not exist has none.
func Read(node hostfs.Root, dir string) (found []Record, bad []Bad, err error) {
	return read(node, dir, maxPods)
}

func read(node hostfs.Root, dir string, most int) (found []Record, bad []Bad, err error) {
	dir = filepath.Join(dir, "pods")
	d, err := node.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read kubelet's pods: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(most + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("read kubelet's pods: %w", err)
	}
	if len(names) > most {
		return nil, nil, fmt.Errorf("read kubelet's pods: %s has more than %d", dir, most)
	}
	slices.Sort(names)
	for _, name := range names {
		r := Record{Pod: name, Path: filepath.Join(dir, name, "userns")}
		switch err := r.read(int(d.Fd())); {
		case errors.Is(err, fs.ErrNotExist): // a pod of the host's user namespace, or one just gone
		case err != nil:
			bad = append(bad, Bad{r.Pod, r.Path, err})
		default:
			found = append(found, r)
		}
	}
	return found, bad, nil
}

// read fills in the record. No link is followed, and what is no regular file is
// not waited for.
func (r *Record) read(pods int) error {
	fd, err := unix.Openat2(pods, filepath.Join(r.Pod, "userns"), &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return &fs.PathError{Op: "open", Path: r.Path, Err: err}
	}
	f := os.NewFile(uintptr(fd), r.Path)
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("read %s: not a regular file", r.Path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return err
	}
	if len(text) > maxBytes {
		return fmt.Errorf("read %s: more than %d bytes", r.Path, maxBytes)
	}
	r.Written = st.ModTime().UTC()
	r.UIDs, r.GIDs, err = Parse(text)
	return err
}
