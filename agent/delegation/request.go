package delegation

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Defaults of a Request. The bounds are enough for a nested kubelet, and far
// from what makes a node slow.
const (
	DefaultLeaf           = "init"
	DefaultMaxDescendants = 512
	DefaultMaxDepth       = 16
)

// Request says what is handed over, and to whom.
type Request struct {
	Path string // of the container's cgroup below the mount, e.g. /kubepods/pod1/c1; to the container its root
	ID   uint64 // the cgroup's id (inode number), so that no other cgroup can take its place
	UID  uint32 // host ids of the delegate
	GID  uint32

	Leaf        string   // "": DefaultLeaf
	Controllers []string // nil: all that cgroup.controllers names

	// Bounds on cgroups below; the leaf counts. 0 is the default. A stricter
	// bound that is set already stays.
	MaxDescendants uint32
	MaxDepth       uint32
}

// check completes and checks a request without looking at the kernel.
func (r Request) check() (Request, error) {
	if r.Leaf == "" {
		r.Leaf = DefaultLeaf
	}
	if r.MaxDescendants == 0 {
		r.MaxDescendants = DefaultMaxDescendants
	}
	if r.MaxDepth == 0 {
		r.MaxDepth = DefaultMaxDepth
	}
	var what string
	switch {
	case r.Path == "":
		what = "the path is empty"
	case strings.Trim(r.Path, "/.") == "":
		what = "the path is the root of the hierarchy"
	case r.Path[0] != '/' || filepath.Clean(r.Path) != r.Path || strings.ContainsRune(r.Path, 0) || len(r.Path) >= unix.PathMax:
		what = "the path is not absolute and clean"
	case r.ID == 0:
		what = "the cgroup's id is missing"
	case r.UID == math.MaxUint32 || r.GID == math.MaxUint32:
		what = "4294967295 is no uid or gid"
	case !validLeaf(r.Leaf):
		what = fmt.Sprintf("leaf %q is not a plain name", r.Leaf)
	case slices.ContainsFunc(r.Controllers, func(c string) bool { return !validController(c) }):
		what = fmt.Sprintf("controllers %q are not names", r.Controllers)
	default:
		return r, nil
	}
	return r, &StepError{Step: kindCheck, Path: r.Path, Err: fmt.Errorf("%w: %s", ErrRefused, what)}
}

// validLeaf accepts what cannot be taken for a file of the cgroup: those have
// the name of a controller before a dot, and init.scope is the one exception.
func validLeaf(s string) bool {
	if s == "init.scope" {
		return true
	}
	return s != "" && len(s) <= 64 && only(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
}

func validController(s string) bool {
	return s != "" && len(s) <= 32 && only(s, "abcdefghijklmnopqrstuvwxyz0123456789_")
}

// target is an opened cgroup with what is to be done to it.
type target struct {
	Request
	dir
	h *Hierarchy
}

func (t *target) Close() error { return t.dir.Close() }

// path is for messages only.
func (t *target) path(name string) string {
	return filepath.Join(t.h.mount, t.Path, name)
}

func (t *target) owner() owner { return owner{t.UID, t.GID} }

// open checks a request and opens its cgroup.
func (h *Hierarchy) open(r Request) (*target, error) {
	r, err := r.check()
	if err != nil {
		return nil, err
	}
	t := &target{Request: r, h: h}
	refuse := func(err error) (*target, error) {
		return nil, stepError(kindCheck, t.path(""), err)
	}
	if t.ID == h.id {
		return refuse(fmt.Errorf("%w: the id is that of the root of the hierarchy", ErrRefused))
	}
	t.dir, err = h.root.sub(strings.TrimPrefix(r.Path, "/"))
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ELOOP) {
		return refuse(fmt.Errorf("%w: %w", ErrRefused, err))
	}
	if err != nil {
		return refuse(err)
	}
	if err := t.checkOpened(); err != nil {
		t.Close()
		return refuse(err)
	}
	return t, nil
}

// checkOpened holds what was opened against what was meant.
func (t *target) checkOpened() error {
	if err := t.checkType(); err != nil {
		return err
	}
	id, err := t.id()
	if err != nil {
		return err
	}
	if id != t.ID {
		return fmt.Errorf("%w: id %d, not %d", ErrReplaced, id, t.ID)
	}
	return nil
}
