package delegation

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Undelegate takes a cgroup back: it undoes steps in reverse order and returns
// those that it undid. A cgroup that is gone, or whose path another one has, needs
// nothing: that is success.
//
// It is meant for containers that have ended. What owned steps gave away goes back to
// root, below the cgroup too, so that the next holder of the uid finds nothing there;
// an empty leaf is removed. Processes are not moved back, and controllers
// and bounds stay: they harm nobody, and undoing them would disturb a container
// that lives on. Errors are *StepError, or ctx's.
func (h *Hierarchy) Undelegate(ctx context.Context, r Request, steps []string) ([]string, error) {
	t, err := h.open(r)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var undone []string
	for _, name := range slices.Backward(steps) {
		if err := ctx.Err(); err != nil {
			return undone, err
		}
		did, err := t.undo(ctx, name)
		if gone(err) {
			return undone, nil // it went meanwhile
		}
		if err != nil {
			return undone, stepError(name, t.path(""), err)
		}
		if did {
			undone = append(undone, name)
		}
	}
	return undone, nil
}

// undo takes one step back, if that is to be done at all.
func (t *target) undo(ctx context.Context, name string) (bool, error) {
	kind, object, _ := strings.Cut(name, ":")
	switch {
	case kind == kindOwn && object == ".":
		return t.disown(ctx, t.dir, 0)
	case kind == kindOwn && validLeaf(object):
		did, err := t.disownBelow(ctx, t.dir, object, 1)
		if errors.Is(err, unix.ENOENT) {
			return did, nil
		}
		return did, err
	case kind == kindLeaf && validLeaf(object):
		err := t.rmdir(object)
		// Somebody is in it, or it is gone: both are well.
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		return err == nil, err
	}
	return false, nil
}

// maxWalk bounds how deep disown goes. The kernel's bound, which the delegate
// could not lift, is lower; where none was set in time this one holds.
const maxWalk = 256

// disown gives d and what is below back to root, d itself first: from then on
// nothing new is made in it. Ids that the delegate mapped for others count too.
func (t *target) disown(ctx context.Context, d dir, depth int) (did bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if depth > maxWalk {
		return false, &StepError{Step: kindOwn, Path: t.path(""), Err: unix.ELOOP, Why: "cgroups below are nested too deep", Fix: "remove them"}
	}
	if did, err = d.chown("", owner{}); err != nil {
		return did, err
	}
	entries, err := d.names()
	if err != nil {
		return did, err
	}
	for _, e := range entries {
		one, err := false, error(nil)
		if e.IsDir() {
			one, err = t.disownBelow(ctx, d, e.Name(), depth+1)
		} else {
			one, err = d.chown(e.Name(), owner{})
		}
		did = did || one
		if err != nil && !gone(err) { // what is gone is nobody's
			return did, err
		}
	}
	return did, nil
}

func (t *target) disownBelow(ctx context.Context, d dir, name string, depth int) (bool, error) {
	sub, err := d.sub(name)
	if err != nil {
		return false, err
	}
	defer sub.Close()
	return t.disown(ctx, sub, depth)
}
