package subid

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Caller is who runs the nested engine, with its ids as the pod sees them.
type Caller struct {
	UID identity.UID
	GID identity.GID
}

// Nested is what a user namespace gives to the containers inside: ranges of
// ids as its inhabitants see them.
type Nested struct {
	UIDs []Range
	GIDs []Range
}

// ErrNoNestedIDs: the namespace maps the caller alone. Nested containers then
// have one id (ignore_chown_errors), or the pod needs a wider map.
var ErrNoNestedIDs = errors.New("it maps no id but the caller's own: give the pod a map of 65536 ids")

// NestedRanges computes what caller may hand on of its namespace's maps, which
// are those of /proc/PID/uid_map and gid_map of a process in the pod.
//
// All that is mapped is used, whatever its width, but for two ids. The caller's
// own: engines map it beside these ranges, to the root of the container, for
// which newuidmap wants no line; and no id may be mapped twice. And 0, unless
// that is the caller's own: whoever has it in a range can become root of the
// pod. For a caller 0 this leaves 1:65535, so that only the engine's own
// namespace has the pod's root in it, as root again.
//
// The rest stays in as many ranges as extents and gaps make of it: the kernel
// refuses a map whose extent does not lie within one extent of the parent's, so
// neighbours are not joined. Hence 1:999 and 1001:64535 for caller 1000, two
// ranges, which podman then joins to ids 1 to 65534 of the container.
func NestedRanges(uids identity.UIDMap, gids identity.GIDMap, caller Caller) (Nested, error) {
	u, err := nested(uids, uint32(caller.UID))
	if err != nil {
		return Nested{}, fmt.Errorf("compute nested uids: %w", err)
	}
	g, err := nested(gids, uint32(caller.GID))
	if err != nil {
		return Nested{}, fmt.Errorf("compute nested gids: %w", err)
	}
	return Nested{UIDs: u, GIDs: g}, nil
}

// maxExtents is UID_GID_MAP_MAX_EXTENTS of include/linux/user_namespace.h.
const maxExtents = 340

func nested(m []identity.Extent, own uint32) ([]Range, error) {
	if len(m) > maxExtents {
		return nil, fmt.Errorf("map of %d extents: the kernel has %d at most", len(m), maxExtents)
	}
	m = slices.Clone(m)
	slices.SortFunc(m, func(a, b identity.Extent) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	var out []Range
	mapped, end := false, uint64(0)
	for _, e := range m {
		r := Range{Start: e.First, Count: e.Count}
		if r.Count == 0 || r.End() > identity.NoID {
			return nil, fmt.Errorf("extent %s: no range of ids: read the map again", r)
		}
		if uint64(r.Start) < end {
			return nil, fmt.Errorf("extent %s: overlaps the one before: read the map again", r)
		}
		end = r.End()
		mapped = mapped || r.Has(own)
		out = append(out, without(r, 0, own)...)
	}
	if !mapped {
		return nil, fmt.Errorf("the caller's id %d is not mapped: run the engine as an id of the pod (runAsUser, runAsGroup)", own)
	}
	if len(out) == 0 {
		return nil, ErrNoNestedIDs
	}
	return out, nil
}

// without returns what is left of r.
func without(r Range, ids ...uint32) []Range {
	out := []Range{r}
	for _, id := range ids {
		last := out[len(out)-1] // ids ascend, or are equal: only the last part can have the next
		if !last.Has(id) {
			continue
		}
		out = out[:len(out)-1]
		if n := id - last.Start; n > 0 {
			out = append(out, Range{last.Start, n})
		}
		if n := last.End() - uint64(id) - 1; n > 0 {
			out = append(out, Range{id + 1, uint32(n)})
		}
		if len(out) == 0 {
			break
		}
	}
	return out
}

// Login is the first field of a line of /etc/subuid and of /etc/subgid (where
// it is a user's, too).
type Login struct{ text string }

// ByUID is the login to prefer: shadow and all engines read it, and shadow
// faster than a name, which it looks up for each line.
func ByUID(uid identity.UID) Login { return Login{strconv.FormatUint(uint64(uid), 10)} }

// ByName is for tools that look for the name only. A file has lines by uid or
// by name, never both: shadow's library and RootlessKit take each line that
// matches either, podman then maps every range twice, and the kernel answers
// EINVAL.
func ByName(name string) (Login, error) {
	ok := name != "" && len(name) <= 32
	digits := true
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		digit := '0' <= c && c <= '9'
		digits = digits && digit
		ok = ok && (letter || digit || i > 0 && (c == '-' || c == '.') || i > 0 && i == len(name)-1 && c == '$')
	}
	if !ok || digits {
		return Login{}, fmt.Errorf("login %s: want 1 to 32 of A-Z a-z 0-9 _ . -, not only digits, no dash or dot in front: use the uid", quote(name))
	}
	return Login{name}, nil
}

// Subuid returns the file /etc/subuid for the pod.
func (n Nested) Subuid(l Login) string { return lines(l, n.UIDs) }

// Subgid returns the file /etc/subgid for the pod.
func (n Nested) Subgid(l Login) string { return lines(l, n.GIDs) }

func lines(l Login, rs []Range) string {
	if l.text == "" {
		return "" // the zero Login: a line without one would be anybody's
	}
	var b strings.Builder
	for _, r := range rs {
		b.WriteString(l.text + ":" + r.String() + "\n")
	}
	return b.String()
}
