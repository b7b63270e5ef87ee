package delegation

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors that a caller acts on; a StepError wraps them.
var (
	ErrRefused  = errors.New("refused")                  // the request is wrong or dangerous; nothing was touched
	ErrGone     = errors.New("the cgroup is gone")       // the container has ended
	ErrReplaced = errors.New("another cgroup is there")  // likewise, and its path is in use again
	ErrThreaded = errors.New("the cgroup is threaded")   // prepared too late, or by somebody else
	ErrBusy     = errors.New("processes keep coming in") // worth another try
)

// StepError says which step failed, and why as far as the kernel's errno tells.
type StepError struct {
	Step string // see Steps of Result; "check" before anything was changed
	Path string // of the cgroup, or of the file in it
	Err  error
	Why  string // the reason in the domain's terms; may be empty
	Fix  string // what to do; may be empty
}

func (e *StepError) Error() string {
	s := fmt.Sprintf("%s %s: %v", e.Step, e.Path, e.Err)
	if e.Why != "" {
		s += ": " + e.Why
	}
	if e.Fix != "" {
		s += ": " + e.Fix
	}
	return s
}

func (e *StepError) Unwrap() error { return e.Err }

// stepError adds the reason to an errno.
func stepError(step, path string, err error) error {
	var have *StepError
	if err == nil || errors.As(err, &have) {
		return err
	}
	e := &StepError{Step: step, Path: path, Err: err}
	kind, _, _ := strings.Cut(step, ":")
	e.Why, e.Fix = explain(kind, err)
	// An operation on a directory that was removed gives ENODEV, a lookup in
	// it ENOENT; enabling and moving have an ENOENT of their own.
	if errors.Is(err, unix.ENODEV) || errors.Is(err, fs.ErrNotExist) && kind != kindEnable && kind != kindMove {
		e.Err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	return e
}

// Kinds of steps: what stands before the colon of a step's name.
const (
	kindCheck  = "check"
	kindBound  = "bound"
	kindLeaf   = "leaf"
	kindMove   = "move"
	kindEnable = "enable"
	kindOwn    = "own"
)

const fixRestart = "restart the container, so that it is prepared before its first process runs"

// reasons are what errnos mean, per kind of step; "" is any other kind.
var reasons = map[error]map[string][2]string{
	unix.EBUSY: {
		kindEnable: {"processes are in the cgroup itself, and a cgroup with processes enables nothing for its children", "move them into a leaf"},
		kindMove:   {"the leaf has controllers enabled for children of its own", "choose another name for the leaf"},
		kindLeaf:   {"the leaf has processes or children", "end them"},
	},
	unix.EOPNOTSUPP: {
		kindEnable: {"the cgroup is, or is in, a threaded subtree, where this controller does not work", fixRestart},
		kindMove:   {"the leaf is in a threaded subtree, where it takes no processes", fixRestart},
	},
	unix.ENOENT: {
		kindEnable: {"the controller is not enabled in the parent's cgroup.subtree_control", "enable it from the root down; the parent belongs to kubelet or systemd"},
		kindMove:   {"the leaf is gone, or the move crosses the root of a cgroup namespace (nsdelegate)", "run eyas in the host's cgroup namespace"},
		"":         {"the container has ended", ""},
	},
	unix.ENODEV: {"": {"the container has ended", ""}},
	unix.EAGAIN: {
		kindLeaf: {"cgroup.max.descendants or cgroup.max.depth is reached here or in an ancestor", "remove cgroups, or raise the bound"},
	},
	unix.EPERM: {
		kindOwn: {"eyas lacks CAP_CHOWN", "give it this capability"},
		"":      {"eyas lacks a capability, or writes at the root of its cgroup namespace (nsdelegate)", "give it CAP_CHOWN and CAP_DAC_OVERRIDE, and run it in the host's cgroup namespace"},
	},
	unix.EACCES: {"": {"the file belongs to another user", "give eyas CAP_DAC_OVERRIDE"}},
	unix.EROFS:  {"": {"cgroup2 is mounted read-only", "mount it read-write into eyas's container"}},
	unix.EXDEV:  {"": {"something is mounted over the cgroup, or the path leads out of the mount", "unmount it"}},
	unix.ELOOP:  {"": {"a link is in the path", "remove it; cgroup2 has none of its own"}},
	unix.EINVAL: {
		kindEnable: {"the kernel does not know the controller, or cannot enable it with these processes (cpu with realtime ones)", "leave the controller out"},
	},
	unix.ENOMEM: {"": {"the kernel has no memory left", "try again"}},
}

func explain(kind string, err error) (why, fix string) {
	for errno, kinds := range reasons {
		if !errors.Is(err, errno) {
			continue
		}
		r, ok := kinds[kind]
		if !ok {
			r = kinds[""]
		}
		return r[0], r[1]
	}
	return "", ""
}
