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
// before it, not necessarily right below; a container of a pod is one, two or three
// of them, as in "namespace/pod", "pod/container" or the container alone. A live container is preferred to one
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
	// A name may hold a slash itself, so the whole is tried first.
	found := matches(all, byID, []string{expr})
	if len(found) == 0 {
		found = matches(all, byID, steps(expr))
	}
	found = strongest(prefer(found), expr)
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

func matches(all []ContainerRecord, byID map[string]ContainerRecord, path []string) []ContainerRecord {
	if len(path) == 0 {
		return nil
	}
	var found []ContainerRecord
	for _, c := range all {
		_, n := c.claims(path)
		if n == 0 {
			continue
		}
		rest := path[:len(path)-n]
		up, ok := byID[c.Parent]
		for range maxChain { // a damaged history may hold a circle
			if !ok || len(rest) == 0 {
				break
			}
			_, n := up.claims(rest)
			rest = rest[:len(rest)-n]
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

// claims is how strong a container's claim to the last steps of a path is, and to how
// many of them; 0 is none. Kubernetes' word for a pod, given whole, is stronger than
// any name from inside.
func (c ContainerRecord) claims(path []string) (strength, steps int) {
	if c.Pod != nil && c.Pod.Name != "" {
		for _, whole := range [][]string{{c.Pod.Namespace, c.Pod.Name, c.Pod.Container}, {c.Pod.Namespace, c.Pod.Name}, {c.Pod.Name, c.Pod.Container}} {
			if n := len(path) - len(whole); n >= 0 && slices.Equal(path[n:], whole) {
				return 4, len(whole)
			}
		}
	}
	if s := c.claim(path[len(path)-1]); s > 0 {
		return s, 1
	}
	return 0, 0
}

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
	case step == c.Display, c.Pod != nil && (step == c.Pod.Name || step == c.Pod.Container):
		return 1
	}
	return 0
}

// strongest keeps those with the strongest claim to the innermost step.
func strongest(found []ContainerRecord, expr string) []ContainerRecord {
	claim := func(c ContainerRecord) int {
		best := c.claim(expr)
		if path := steps(expr); len(path) > 0 {
			s, _ := c.claims(path)
			best = max(best, s)
		}
		return best
	}
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
