package logs

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Selection says whose logs are told.
type Selection struct {
	kernel bpf.LogSelection // of all containers
	rules  []rule
	none   bool // not even of pods that ask for it
}

// rule names containers; what is empty does not matter.
type rule struct {
	steps                     []string // of a chain, from the outside in
	namespace, pod, container string   // of the outermost one, by Kubernetes
	level                     int      // 0: any
	deeper                    bool     // and those deeper than that
	streams                   bpf.LogSelection
}

const maxRules = 64

var errSelection = errors.New("want none, annotated, nested, all, or rules separated by commas: patterns of chains such as web/*, " +
	"and namespace=, pod=, container=, level= (2, or 2+) and stream=, joined by ;")

// ParseSelection reads none, annotated (pods that ask for it), nested (all containers
// inside others), all, or rules, separated by commas. A rule is a pattern of a chain
// (names or ids, from the outside in, with * and ? as in file names), conditions
// such as namespace=prod, or both, joined by semicolons: web/*;namespace=prod;stream=stderr.
// A container that a rule names is told with all that is inside it, but with a level:
// level=2 is those alone, level=2+ with what is inside. All but none also honour what
// pods ask for.
func ParseSelection(s string) (Selection, error) {
	switch s {
	case "none":
		return Selection{none: true}, nil
	case "annotated":
		return Selection{}, nil
	case "nested":
		return Selection{kernel: bpf.LogInside}, nil
	case "all":
		return Selection{kernel: bpf.LogInside | bpf.LogSelf}, nil
	}
	var sel Selection
	for p := range strings.SplitSeq(s, ",") {
		r, err := parseRule(strings.TrimSpace(p))
		if err != nil {
			return Selection{}, err
		}
		sel.rules = append(sel.rules, r)
	}
	if len(sel.rules) > maxRules {
		return Selection{}, errors.New("want at most 64 rules")
	}
	return sel, nil
}

func parseRule(s string) (r rule, err error) {
	for i, term := range strings.Split(s, ";") {
		key, value, is := strings.Cut(term, "=")
		switch {
		case is && !pattern(value):
			return r, errSelection
		case !is && i == 0:
			r.steps = strings.Split(term, "/")
			if slices.ContainsFunc(r.steps, func(step string) bool { return !pattern(step) }) {
				return r, errSelection
			}
		case is && key == "namespace":
			r.namespace = value
		case is && key == "pod":
			r.pod = value
		case is && key == "container":
			r.container = value
		case is && key == "level":
			value, r.deeper = strings.CutSuffix(value, "+")
			if r.level, err = strconv.Atoi(value); err != nil || r.level < 1 || r.level > 64 {
				return r, errSelection
			}
		case is && key == "stream" && value == string(identity.Stdout):
			r.streams = bpf.LogNoStderr
		case is && key == "stream" && value == string(identity.Stderr):
			r.streams = bpf.LogNoStdout
		default:
			return r, errSelection
		}
	}
	return r, nil
}

func pattern(s string) bool {
	_, err := path.Match(s, "")
	return err == nil && s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// None reports whether nobody's logs are told.
func (s Selection) None() bool { return s.none }

// Waits reports whether nobody's are until a pod asks for it.
func (s Selection) Waits() bool { return s.kernel == 0 && len(s.rules) == 0 }

// of says what the rules want of a container; pod is that of its outermost one.
func (s Selection) of(c *identity.Container, pod Pod) (all bpf.LogSelection) {
	const no = bpf.LogNoStdout | bpf.LogNoStderr
	for i := range s.rules {
		r := &s.rules[i]
		if !r.names(c, pod) {
			continue
		}
		l := bpf.LogSelf | r.streams
		if r.level == 0 || r.deeper {
			l |= bpf.LogInside
		}
		if all != 0 { // what one of them wants is told
			l = (l|all)&^no | l&all&no
		}
		all = l
	}
	return all
}

func (r *rule) names(c *identity.Container, pod Pod) bool {
	for pat, name := range map[*string]string{&r.namespace: pod.Namespace, &r.pod: pod.Name, &r.container: pod.Container} {
		if ok, err := path.Match(*pat, name); *pat != "" && (err != nil || !ok) {
			return false
		}
	}
	if r.level != 0 && c.Level != r.level {
		return false
	}
	if r.level == 0 && len(r.steps) == 0 && c.Parent != nil {
		return false // what is inside is told with the outermost one
	}
	return len(r.steps) == 0 || follows(c, r.steps)
}

// follows reports whether a pattern names the container. Steps may leave out
// containers in between, but for the innermost.
func follows(c *identity.Container, steps []string) bool {
	last := len(steps) - 1
	if !is(c, steps[last]) {
		return false
	}
	rest := steps[:last]
	for up := c.Parent; up != nil && len(rest) > 0; up = up.Parent {
		if is(up, rest[len(rest)-1]) {
			rest = rest[:len(rest)-1]
		}
	}
	return len(rest) == 0
}

// is reports whether a step names a container. Names are the sandbox's own: one that
// takes another's is told, too, and that is all.
func is(c *identity.Container, step string) bool {
	for _, name := range []string{c.ID, c.Name.ID, c.Name.Name, c.DisplayName()} {
		if ok, err := path.Match(step, name); err == nil && ok && name != "" {
			return true
		}
	}
	return false
}
