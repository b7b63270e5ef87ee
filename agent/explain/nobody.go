package explain

import (
	"fmt"
	"strings"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// trace is one id of a file on its way inwards.
type trace struct {
	kind       string // uid, gid
	over       uint32
	mount      Mount
	disk, host *uint32
	levels     []Level
	id         func(level int) *uint32
	maps       func(level int) []identity.Extent
}

// why finds the outermost level that shows the id as nobody's, and what would
// change that.
func (t trace) why() (Nobody, bool) {
	if t.host == nil {
		return t.lostInMount(), true
	}
	for i := range t.levels {
		switch id := t.id(i); {
		case id == nil && t.levels[i].Note != "":
			return Nobody{Kind: t.kind, Level: i, Why: fmt.Sprintf("%s cannot be translated for level %d: %s", t.kind, i, t.levels[i].Note)}, true
		case id == nil:
			return t.unmapped(i), true
		case *id == t.over:
			return Nobody{Kind: t.kind, Level: i, Why: fmt.Sprintf("it really is %s %d at level %d: the id is mapped, and that of nobody", t.kind, t.over, i)}, true
		}
	}
	return Nobody{}, false
}

// lostInMount: the map of the mount has no id for the one on disk.
func (t trace) lostInMount() Nobody {
	n := Nobody{Kind: t.kind}
	extents := t.mount.UIDMap
	if t.kind == "gid" {
		extents = t.mount.GIDMap
	}
	what := "the " + t.kind + " that the file has on disk"
	if t.disk != nil {
		what = fmt.Sprintf("%s %d, which the file has on disk", t.kind, *t.disk)
	}
	if len(extents) == 0 && t.mount.Note != "" {
		n.Why = fmt.Sprintf("the mount is idmapped, and shows %d: its map most likely lacks %s, but cannot be read (%s)", t.over, what, t.mount.Note)
	} else {
		n.Why = fmt.Sprintf("the mount is idmapped, and its map (%s) lacks %s: it shows as %d at every level, also on the node", mapText(extents), what, t.over)
	}
	n.Fix = "change the owner through a mount of the file system that is not idmapped, to an id that the map has; or mount it with a map that has this one"
	return n
}

// unmapped: level i has no id for what level i-1 still knows.
func (t trace) unmapped(i int) Nobody {
	inner, outer := t.levels[i], t.levels[i-1]
	was := *t.id(i - 1)
	relative := identity.UIDMap(t.maps(i)).Relative(identity.UIDMap(t.maps(i - 1)))
	n := Nobody{Kind: t.kind, Level: i}
	n.Why = fmt.Sprintf("level %d (%s) does not map %s %d of level %d (%s): it shows as %d from there inwards; its map: %s",
		i, inner.Name, t.kind, was, i-1, outer.Name, t.over, mapText(relative))
	var ways []string
	if len(relative) > 0 {
		to := relative[0]
		command := "chown"
		if t.kind == "gid" {
			command = "chgrp"
		}
		where := "on the node"
		if i > 1 {
			where = fmt.Sprintf("at level %d", i-1)
		}
		ways = append(ways, fmt.Sprintf("%s %d FILE %s, which makes it %s %d inside; or another of %s", command, to.Host, where, t.kind, to.First, spanText(to.Host, to.Count)))
	}
	if i == 1 {
		ways = append(ways, "mount the volume idmapped: pods with hostUsers: false do so on ext4, xfs, btrfs and tmpfs, podman with -v …:idmap")
	} else {
		ways = append(ways, fmt.Sprintf("give level %d the id: a range with %d in /etc/sub%s of level %d, and the engine inside started anew", i, was, t.kind, i-1))
	}
	n.Fix = strings.Join(ways, "\n")
	return n
}

// maxExtents bounds what a sentence shows of a map.
const maxExtents = 4

func mapText(all []identity.Extent) string {
	if len(all) == 0 {
		return "empty"
	}
	var parts []string
	for i, e := range all {
		if i == maxExtents {
			parts = append(parts, fmt.Sprintf("… %d more", len(all)-i))
			break
		}
		parts = append(parts, spanText(e.First, e.Count)+"→"+spanText(e.Host, e.Count))
	}
	return strings.Join(parts, " ")
}

func spanText(first, count uint32) string {
	if count <= 1 {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, uint64(first)+uint64(count)-1)
}
