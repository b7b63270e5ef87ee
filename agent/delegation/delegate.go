package delegation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Action is a step that Delegate would do, and what it would change.
type Action struct {
	Step    string
	Changes []Difference
}

// Types of a cgroup, as cgroup.type names them.
const (
	typeDomain         = "domain"
	typeThreaded       = "threaded"
	typeDomainThreaded = "domain threaded"
	typeDomainInvalid  = "domain invalid"
)

// ready opens a cgroup that can be delegated.
func (h *Hierarchy) ready(r Request) (*target, []step, error) {
	t, err := h.open(r)
	if err != nil {
		return nil, nil, err
	}
	kind, err := t.read("cgroup.type")
	if err == nil {
		err = checkDomain(kind, t.path("cgroup.type"))
	}
	if err == nil {
		err = t.checkInside()
	}
	var steps []step
	if err == nil {
		steps, err = t.steps()
	}
	if err != nil {
		t.Close()
		return nil, nil, stepError(kindCheck, t.path("cgroup.type"), err)
	}
	return t, steps, nil
}

// checkDomain says what a type means for a delegation.
func checkDomain(kind, path string) error {
	e := &StepError{Step: kindCheck, Path: path, Err: fmt.Errorf("%w: type %q", ErrThreaded, kind), Fix: fixRestart}
	switch kind {
	case typeDomain:
		return nil
	case typeThreaded:
		e.Why = "in a threaded subtree memory and io do not work"
	case typeDomainThreaded:
		e.Why = "somebody enabled cpu or pids while processes were in it, or made a child threaded; memory and io cannot be enabled any more"
	case typeDomainInvalid:
		e.Why = "its parent is a threaded domain, so it takes no processes"
	default:
		e.Err, e.Fix = fmt.Errorf("%w: type %q is not known", ErrRefused, kind), ""
	}
	return e
}

// checkInside refuses a cgroup with processes that must not, or cannot, be
// moved, before anything is touched.
func (t *target) checkInside() error {
	s, err := t.read("cgroup.procs")
	if err != nil {
		return err
	}
	for pid := range strings.FieldsSeq(s) {
		if err := mayMove(pid, os.Getpid()); err != nil {
			return err
		}
	}
	return nil
}

// Plan returns what Delegate would do now, and changes nothing. Errors are
// Delegate's of its check.
func (h *Hierarchy) Plan(r Request) ([]Action, error) {
	t, steps, err := h.ready(r)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var plan []Action
	for _, s := range steps {
		diff, err := s.differ()
		if err != nil {
			return plan, stepError(s.name, t.path(""), err)
		}
		if len(diff) > 0 {
			plan = append(plan, Action{s.name, diff})
		}
	}
	return plan, nil
}

// Delegate hands a cgroup over. What is done already is not done again, so it
// may be repeated after an error or a crash.
//
// It returns the steps that changed something, in order; after an error the last
// is the one that failed, of which a part may be in place. Callers keep the union
// over all calls for Undelegate. Errors are *StepError, or ctx's.
func (h *Hierarchy) Delegate(ctx context.Context, r Request) ([]string, error) {
	t, steps, err := h.ready(r)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var done []string
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		diff, err := s.differ()
		if err != nil {
			return done, stepError(s.name, t.path(""), err)
		}
		if len(diff) == 0 {
			continue
		}
		done = append(done, s.name)
		if err := s.do(ctx); err != nil {
			return done, stepError(s.name, t.path(""), err)
		}
	}
	return done, nil
}

// Verify returns what differs from the state that Delegate leaves: owners,
// bounds, controllers, the leaf, processes outside of it, the type, and files that
// belong to the delegate and must not. Nil: nothing does. It only reads.
func (h *Hierarchy) Verify(r Request) ([]Difference, error) {
	t, err := h.open(r)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var out []Difference
	kind, err := t.read("cgroup.type")
	if err != nil {
		return nil, stepError(kindCheck, t.path("cgroup.type"), err)
	}
	if kind != typeDomain {
		out = append(out, Difference{"cgroup.type", typeDomain, kind})
	}
	steps, err := t.steps()
	if err != nil {
		return nil, err
	}
	for _, s := range steps {
		diff, err := s.differ()
		if err != nil {
			return nil, stepError(s.name, t.path(""), err)
		}
		out = append(out, diff...)
	}
	foreign, err := t.tooMuch()
	return append(out, foreign...), stepError(kindCheck, t.path(""), err)
}

// tooMuch finds files of the cgroup that belong to the delegate although the
// kernel does not name them: with cgroup.max.* it could lift its own bounds.
func (t *target) tooMuch() ([]Difference, error) {
	if t.UID == 0 {
		return nil, nil
	}
	entries, err := t.names()
	if err != nil {
		return nil, err
	}
	var out []Difference
	for _, e := range entries {
		if e.IsDir() || slices.Contains(t.h.files, e.Name()) {
			continue
		}
		o, err := t.dir.owner(e.Name())
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if o.uid == t.UID {
			out = append(out, Difference{e.Name(), "of root", "of " + o.String()})
		}
	}
	return out, nil
}

// Populated reports whether a live process is in the cgroup or below it. An
// error that wraps ErrGone or ErrReplaced means that none can be.
func (h *Hierarchy) Populated(r Request) (bool, error) {
	t, err := h.open(r)
	if err != nil {
		return false, err
	}
	defer t.Close()
	s, err := t.read("cgroup.events")
	if err != nil {
		return false, stepError(kindCheck, t.path("cgroup.events"), err)
	}
	populated, err := parsePopulated(s)
	return populated, stepError(kindCheck, t.path("cgroup.events"), err)
}

func parsePopulated(s string) (bool, error) {
	for line := range strings.Lines(s) {
		switch strings.TrimSpace(line) {
		case "populated 0":
			return false, nil
		case "populated 1":
			return true, nil
		}
	}
	return false, errors.New("cgroup.events does not say whether the cgroup is populated")
}

// gone reports whether an error means that the cgroup no longer exists.
func gone(err error) bool {
	return errors.Is(err, ErrGone) || errors.Is(err, ErrReplaced) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}
