package logs

import (
	"errors"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Selection says whose logs are told.
type Selection struct {
	kernel   bpf.LogSelection // of all containers
	patterns [][]string       // by steps, from the outside in
}

const maxPatterns = 64

// ParseSelection reads none, nested (all containers inside others), all, or patterns of chains,
// separated by commas: names or ids, from the outside in, with * and ? as in file
// names. A container that a pattern names is told with all that is inside it.
func ParseSelection(s string) (Selection, error) {
	switch s {
	case "none":
		return Selection{}, nil
	case "nested":
		return Selection{kernel: bpf.LogInside}, nil
	case "all":
		return Selection{kernel: bpf.LogInside | bpf.LogSelf}, nil
	}
	var sel Selection
	for p := range strings.SplitSeq(s, ",") {
		steps := strings.Split(strings.TrimSpace(p), "/")
		for _, step := range steps {
			if _, err := path.Match(step, ""); err != nil || step == "" || strings.ContainsFunc(step, func(r rune) bool { return !unicode.IsPrint(r) }) {
				return Selection{}, errors.New("want none, nested, all, or patterns of chains such as web/*,db")
			}
		}
		sel.patterns = append(sel.patterns, steps)
	}
	if len(sel.patterns) > maxPatterns {
		return Selection{}, errors.New("want at most 64 patterns")
	}
	return sel, nil
}

// None reports whether nobody's logs are told.
func (s Selection) None() bool { return s.kernel == 0 && len(s.patterns) == 0 }

// names reports whether a pattern names the container. Steps may leave out
// containers in between, but for the innermost.
func (s Selection) names(c *identity.Container) bool {
	return slices.ContainsFunc(s.patterns, func(steps []string) bool {
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
	})
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

// apply has the kernel tell of those that patterns name.
func (c *Collector) apply() error {
	if len(c.o.Select.patterns) == 0 {
		return nil
	}
	want := map[bpf.LogBox]bool{}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		for _, x := range t.Containers() {
			if x.OwnPIDNS() && c.o.Select.names(x) {
				want[boxOf(x.PIDNS)] = true
			}
		}
	})
	news := false
	for b := range want {
		if c.chosen[b] {
			continue
		}
		if err := c.src.Select(b, bpf.LogSelf|bpf.LogInside); err != nil {
			return err
		}
		c.chosen[b], news = true, true
	}
	for b := range c.chosen {
		if !want[b] { // gone, or named otherwise by now
			if err := c.src.Select(b, 0); err != nil {
				return err
			}
			delete(c.chosen, b)
		}
	}
	if news {
		return c.src.Adopt()
	}
	return nil
}

func boxOf(k identity.NSKey) bpf.LogBox { return bpf.LogBox{PIDNS: k.Inum, Start: k.Gen} }
func keyOf(b bpf.LogBox) identity.NSKey { return identity.NSKey{Inum: b.PIDNS, Gen: b.Start} }
