package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of Select. ErrAmbiguous comes with the candidates in its text.
var (
	ErrNoContainer = errors.New("no such container")
	ErrAmbiguous   = errors.New("more than one container")
)

// Select finds the container that a person means by expr: a short id, a
// runtime's id, or either's first four digits or more; a name; or a path of
// such steps from the outside in ("web/db", "web ▸ db"), each below the one
// before it, not necessarily right below. A path that begins with a pod, as
// NAMESPACE/POD[/CONTAINER], or with an outermost container's whole runtime id, means
// that one, or what is inside it, whatever others call themselves. A live container is preferred to one
// that is gone, the newest to older ones; one that a runtime has given the name
// to one that shows it for want of better. Names are compared as they are.
func Select(expr string, all []ContainerRecord) (ContainerRecord, error) {
	expr = strings.TrimSpace(expr)
	if expr == "" {
		return ContainerRecord{}, fmt.Errorf("select container: empty name: %w", ErrNoContainer)
	}
	byID := make(map[string]ContainerRecord, len(all))
	for _, c := range all {
		byID[c.ID] = c
	}
	if c, ok := byID[expr]; ok {
		return c, nil // a short id is nobody else's, whatever others call themselves
	}
	found, sure := anchored(all, steps(expr))
	if !sure {
		// A name may hold a slash itself, so the whole is tried first.
		if found = matches(all, byID, []string{expr}); len(found) == 0 {
			found = matches(all, byID, steps(expr))
		}
		found = prefer(found)
	}
	found = strongest(found, expr)
	switch len(found) {
	case 0:
		return ContainerRecord{}, fmt.Errorf("select container %q: %w: see eyas tree", expr, ErrNoContainer)
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, c := range found[:min(len(found), 8)] {
		ids = append(ids, c.ID)
	}
	return ContainerRecord{}, fmt.Errorf("select container %q: %w: one of %s", expr, ErrAmbiguous, strings.Join(ids, ", "))
}

func steps(expr string) []string {
	var out []string
	for s := range strings.FieldsFuncSeq(expr, func(r rune) bool { return r == '/' || r == '▸' }) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	if len(out) > 1 && out[0] == "node" {
		out = out[1:]
	}
	return out
}

// anchored finds what a path means that begins with an outermost container by a word
// that nobody inside has a say in: its pod, or its whole runtime id. It reports whether
// the path does.
func anchored(all []ContainerRecord, path []string) (found []ContainerRecord, sure bool) {
	anchors, n := anchors(all, path)
	if len(anchors) == 0 {
		return nil, false
	}
	rest := path[n:]
	if len(rest) == 0 {
		return prefer(anchors), true
	}
	for _, a := range anchors {
		var inside []ContainerRecord
		byID := map[string]ContainerRecord{}
		for _, c := range Below(all, a.ID) {
			if c.ID != a.ID {
				inside, byID[c.ID] = append(inside, c), c
			}
		}
		found = append(found, matches(inside, byID, rest)...)
	}
	return prefer(found), true
}

// anchors are the outermost containers that a path begins with, by its first n steps:
// by as many as there can be. Those that hold a pod's namespaces have no name, and are
// meant only if there is no other.
func anchors(all []ContainerRecord, path []string) (found []ContainerRecord, n int) {
	for _, c := range all {
		if c.Parent != "" {
			continue
		}
		has := 0
		switch p := c.Pod; {
		case len(path) > 2 && p != nil && path[0] == p.Namespace && path[1] == p.Name && path[2] == p.Container:
			has = 3
		case len(path) > 1 && p != nil && path[0] == p.Namespace && path[1] == p.Name:
			has = 2
		case len(path) > 0 && len(c.Name.ID) >= wholeID && path[0] == c.Name.ID:
			has = 1
		}
		switch {
		case has == 0 || has < n:
		case has > n:
			found, n = []ContainerRecord{c}, has
		default:
			found = append(found, c)
		}
	}
	named := slices.DeleteFunc(slices.Clone(found), func(c ContainerRecord) bool { return c.Pod != nil && c.Pod.Container == "" })
	if len(named) > 0 {
		found = named
	}
	return found, n
}

// wholeID is fewer digits than a runtime's id has (64, or 32).
const wholeID = 32

func matches(all []ContainerRecord, byID map[string]ContainerRecord, path []string) []ContainerRecord {
	if len(path) == 0 {
		return nil
	}
	var found []ContainerRecord
	for _, c := range all {
		if !c.is(path[len(path)-1]) {
			continue
		}
		rest := path[:len(path)-1]
		up, ok := byID[c.Parent]
		for range maxChain { // a damaged history may hold a circle
			if !ok || len(rest) == 0 {
				break
			}
			if up.is(rest[len(rest)-1]) {
				rest = rest[:len(rest)-1]
			}
			up, ok = byID[up.Parent]
		}
		if len(rest) == 0 {
			found = append(found, c)
		}
	}
	return found
}

// minPrefix is how many digits of an id are enough to mean it.
const minPrefix = 4

func (c ContainerRecord) is(step string) bool { return c.claim(step) > 0 }

// claim is how strong a container's claim to be meant by a step is; 0 is none.
// A host name or a command, which is all that some have to show, is whatever
// the people inside like.
func (c ContainerRecord) claim(step string) int {
	switch {
	case step == "":
		return 0
	case step == c.ID, step == c.Name.ID:
		return 3
	case step == c.Name.Name,
		len(step) >= minPrefix && isHex(step) && (strings.HasPrefix(c.ID, step) || strings.HasPrefix(c.Name.ID, step)):
		return 2
	case step == c.Display:
		return 1
	}
	return 0
}

// strongest keeps those with the strongest claim to the innermost step.
func strongest(found []ContainerRecord, expr string) []ContainerRecord {
	last := expr
	if path := steps(expr); len(path) > 0 {
		last = path[len(path)-1]
	}
	claim := func(c ContainerRecord) int { return max(c.claim(expr), c.claim(last)) }
	best := 0
	for _, c := range found {
		best = max(best, claim(c))
	}
	return slices.DeleteFunc(found, func(c ContainerRecord) bool { return claim(c) < best })
}

func isHex(s string) bool {
	for i := range len(s) {
		if !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
			return false
		}
	}
	return s != ""
}

// prefer drops those that are gone when one lives, and keeps the newest of
// those that are gone.
func prefer(found []ContainerRecord) []ContainerRecord {
	var live []ContainerRecord
	var newest ContainerRecord
	for _, c := range found {
		if !c.Gone {
			live = append(live, c)
		}
		if c.Last.After(newest.Last) || newest.ID == "" {
			newest = c
		}
	}
	switch {
	case len(live) > 0:
		return live
	case newest.ID != "":
		return []ContainerRecord{newest}
	}
	return nil
}

// Below returns the container with the id and all those inside it.
func Below(all []ContainerRecord, id string) []ContainerRecord {
	children := make(map[string][]ContainerRecord, len(all))
	var out []ContainerRecord
	for _, c := range all {
		children[c.Parent] = append(children[c.Parent], c)
		if c.ID == id {
			out = append(out, c)
		}
	}
	for i := 0; i < len(out); i++ {
		below := children[out[i].ID]
		delete(children, out[i].ID) // once: a damaged history may hold a circle
		out = append(out, below...)
	}
	return out
}
