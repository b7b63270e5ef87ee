package delegation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Difference is one thing that is not as it is to be.
type Difference struct {
	File string // below the cgroup, "." for itself
	Want string
	Got  string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s is %s, not %s", d.File, d.Got, d.Want)
}

// step is one part of a delegation. differ reads only; do may be repeated.
type step struct {
	name   string
	differ func() ([]Difference, error)
	do     func(context.Context) error
}

// steps lists the parts in their order.
func (t *target) steps() ([]step, error) {
	all := []step{
		t.bound("cgroup.max.descendants", t.MaxDescendants),
		t.bound("cgroup.max.depth", t.MaxDepth),
		t.leaf(),
		{kindMove, t.inside, t.move},
	}
	controllers := t.Controllers
	if controllers == nil {
		s, err := t.read("cgroup.controllers")
		if err != nil {
			return nil, stepError(kindCheck, t.path("cgroup.controllers"), err)
		}
		controllers = strings.Fields(s)
	}
	for _, c := range controllers {
		all = append(all, t.enable(c))
	}
	return append(all, t.own(t.Leaf), t.own(".")), nil
}

// bound limits what can be made below. The file is not among those given away,
// so the delegate cannot lift it.
func (t *target) bound(file string, limit uint32) step {
	return step{
		name: kindBound + ":" + file,
		differ: func() ([]Difference, error) {
			s, err := t.read(file)
			if err != nil {
				return nil, err
			}
			if n, err := strconv.ParseUint(s, 10, 32); err == nil && n <= uint64(limit) {
				return nil, nil
			}
			return []Difference{{file, fmt.Sprint(limit), s}}, nil
		},
		do: func(context.Context) error { return t.write(file, fmt.Sprint(limit)) },
	}
}

func (t *target) leaf() step {
	return step{
		name: kindLeaf + ":" + t.Leaf,
		differ: func() ([]Difference, error) {
			d, err := t.sub(t.Leaf)
			if errors.Is(err, unix.ENOENT) {
				return []Difference{{t.Leaf, "a cgroup", "missing"}}, nil
			}
			if err != nil {
				return nil, err
			}
			return nil, d.Close()
		},
		do: func(context.Context) error {
			err := t.mkdir(t.Leaf)
			if errors.Is(err, unix.EEXIST) {
				return nil
			}
			return err
		},
	}
}

// inside tells how many processes are in the cgroup itself.
func (t *target) inside() ([]Difference, error) {
	s, err := t.read("cgroup.procs")
	if errors.Is(err, unix.EOPNOTSUPP) { // in a threaded subtree
		return []Difference{{"cgroup.procs", "empty", "not readable"}}, nil
	}
	if err != nil || s == "" {
		return nil, err
	}
	return []Difference{{"cgroup.procs", "empty", fmt.Sprintf("with %d inside", len(strings.Fields(s)))}}, nil
}

// maxRounds bounds how often cgroup.procs is read again. A child of a moved
// process is born in the leaf, so few rounds do, unless somebody keeps coming in.
const maxRounds = 64

// move brings all processes into the leaf. Those that are gone meanwhile do not
// count, nor do kernel threads, which cannot be moved (EINVAL).
func (t *target) move(ctx context.Context) error {
	leaf, err := t.sub(t.Leaf)
	if err != nil {
		return err
	}
	defer leaf.Close()
	to, err := leaf.at("cgroup.procs", unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer to.Close()
	return moveAll(ctx, os.Getpid(), func() (string, error) { return t.read("cgroup.procs") }, func(pid string) error {
		_, err := to.WriteString(pid)
		return bare(err)
	})
}

// moveAll moves what read returns until that is nothing, or ErrBusy.
func moveAll(ctx context.Context, self int, read func() (string, error), write func(string) error) error {
	for range maxRounds {
		s, err := read()
		if err != nil {
			return err
		}
		moved, err := movePIDs(ctx, strings.Fields(s), self, write)
		if err != nil || moved == 0 {
			return err
		}
	}
	return ErrBusy
}

// movePIDs moves one reading of cgroup.procs and returns how many it moved or
// found gone: 0 means that only kernel threads are left. A pid that dies and is
// given to another process between reading and writing would be moved in error; the
// kernel takes no pidfd here. Before a container's first program runs nothing dies.
func movePIDs(ctx context.Context, pids []string, self int, write func(string) error) (int, error) {
	moved := 0
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return moved, err
		}
		if err := mayMove(pid, self); err != nil {
			return moved, err
		}
		switch err := write(pid); {
		case errors.Is(err, unix.EINVAL):
		case err == nil, errors.Is(err, unix.ESRCH):
			moved++
		default:
			return moved, err
		}
	}
	return moved, nil
}

// mayMove refuses what is not the container's.
func mayMove(pid string, self int) error {
	switch pid {
	case "0": // how the kernel shows a process that has no pid here
		return fmt.Errorf("%w: a process there is not in the pid namespace of eyas: run eyas with hostPID: true", ErrRefused)
	case strconv.Itoa(self):
		return fmt.Errorf("%w: eyas itself is in that cgroup", ErrRefused)
	}
	return nil
}

// maxEnable bounds how often a controller is tried when processes came in
// between moving and enabling: an exec into the container starts there.
const maxEnable = 8

func (t *target) enable(controller string) step {
	const file = "cgroup.subtree_control"
	return step{
		name: kindEnable + ":" + controller,
		differ: func() ([]Difference, error) {
			s, err := t.read(file)
			if err != nil || slices.Contains(strings.Fields(s), controller) {
				return nil, err
			}
			return []Difference{{file, "with " + controller, "without"}}, nil
		},
		do: func(ctx context.Context) error {
			var err error
			for range maxEnable {
				if err = t.write(file, "+"+controller); !errors.Is(err, unix.EBUSY) {
					return err
				}
				if err := t.move(ctx); err != nil {
					return stepError(kindMove, t.path(""), err)
				}
			}
			return err
		},
	}
}

// own gives away a directory and the files in it that the kernel names.
func (t *target) own(name string) step {
	with := func(f func(dir, string) error) error {
		d := t.dir
		if name != "." {
			leaf, err := t.sub(name)
			if err != nil {
				return err
			}
			defer leaf.Close()
			d = leaf
		}
		// The directory last: with it comes the right to make children.
		for _, file := range append(slices.Clone(t.h.files), "") {
			err := f(d, file)
			if errors.Is(err, unix.ENOENT) && file != "" && file != "cgroup.procs" {
				continue // its controller is not enabled here; but no cgroup is without procs
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	label := func(file string) string {
		if name == "." && file != "" {
			return file
		}
		return strings.TrimSuffix(name+"/"+file, "/")
	}
	return step{
		name: kindOwn + ":" + name,
		differ: func() (out []Difference, err error) {
			err = with(func(d dir, file string) error {
				got, err := d.owner(file)
				if err == nil && got != t.owner() {
					out = append(out, Difference{label(file), "of " + t.owner().String(), "of " + got.String()})
				}
				return err
			})
			if name != "." && errors.Is(err, unix.ENOENT) { // in a plan: it is not there yet
				return []Difference{{name, "of " + t.owner().String(), "missing"}}, nil
			}
			return out, err
		},
		do: func(context.Context) error {
			return with(func(d dir, file string) error {
				_, err := d.chown(file, t.owner())
				return err
			})
		},
	}
}
