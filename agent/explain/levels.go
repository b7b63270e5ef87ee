package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Level is one user namespace of a chain, from the node's (0) inwards.
type Level struct {
	Level  int
	Name   string // the containers that have it; may be hostile
	UserNS uint32
	UIDs   identity.UIDMap // to the host
	GIDs   identity.GIDMap
	Note   string // why the maps are not known
}

// Levels returns the user namespaces of a process's chain, of its innermost
// container and those around it; all are those of the node.
func Levels(chain []identity.Link, all []identity.NSAnswer) ([]Level, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("no chain")
	}
	node := chain[0]
	names := func(inum uint32) string {
		var out []string
		for _, l := range chain {
			if l.UserNS == inum {
				out = append(out, l.Title())
			}
		}
		if len(out) == 0 {
			return "(no container)" // such as the one that rootless podman makes to be root in
		}
		return strings.Join(out, " ▸ ")
	}
	byInum := map[uint32]identity.NSAnswer{}
	for _, n := range all {
		byInum[n.UserNS] = n
	}
	var levels []Level
	for inum := chain[len(chain)-1].UserNS; inum != node.UserNS; {
		n, known := byInum[inum]
		if !known || len(levels) > len(all) {
			return nil, fmt.Errorf("user namespace %d of the chain has ended, or is not known: try again", inum)
		}
		l := Level{Name: names(inum), UserNS: inum, UIDs: n.HostUIDMap, GIDs: n.HostGIDMap}
		switch {
		case n.Partial:
			l.Note = "it has more extents than this kernel shows"
		case !n.Mapped:
			l.Note = "its map is not written yet"
		}
		levels = append(levels, l)
		inum = n.Parent
	}
	all0 := identity.Extent{Count: identity.NoID}
	levels = append(levels, Level{Name: names(node.UserNS), UserNS: node.UserNS, UIDs: identity.UIDMap{all0}, GIDs: identity.GIDMap{all0}})
	slices.Reverse(levels)
	for i := range levels {
		levels[i].Level = i
	}
	return levels, nil
}

// Seen is a file as one level sees it.
type Seen struct {
	Level    int    `json:"level"`
	Where    string `json:"where"`
	UserNS   uint32 `json:"userns"`
	IDs             // nil: it shows as the overflow id
	Unmapped bool   `json:"unmapped,omitempty"`
	Note     string `json:"note,omitempty"`
}

// Nobody says why an id shows as nobody's.
type Nobody struct {
	Kind  string `json:"kind"`  // uid, gid
	Level int    `json:"level"` // the outermost that shows it so
	Why   string `json:"why"`
	Fix   string `json:"fix,omitempty"`
}

// See returns a file as every level sees it, and why it is nobody's at some.
func See(f File, levels []Level, over uint32) (seen []Seen, why []Nobody) {
	seen, why = []Seen{}, []Nobody{}
	for _, l := range levels {
		s := Seen{Level: l.Level, Where: l.Name, UserNS: l.UserNS, Note: l.Note}
		if f.Host.UID != nil {
			if u, ok := l.UIDs.FromHost(identity.HostUID(*f.Host.UID)); ok {
				v := uint32(u)
				s.UID = &v
			}
		}
		if f.Host.GID != nil {
			if g, ok := l.GIDs.FromHost(identity.HostGID(*f.Host.GID)); ok {
				v := uint32(g)
				s.GID = &v
			}
		}
		s.Unmapped = s.UID == nil || s.GID == nil
		seen = append(seen, s)
	}
	uids := func(i int) []identity.Extent { return levels[i].UIDs }
	gids := func(i int) []identity.Extent { return levels[i].GIDs }
	for _, side := range []struct {
		kind string
		disk *uint32
		host *uint32
		id   func(int) *uint32
		maps func(int) []identity.Extent
	}{
		{"uid", f.Disk.UID, f.Host.UID, func(i int) *uint32 { return seen[i].UID }, uids},
		{"gid", f.Disk.GID, f.Host.GID, func(i int) *uint32 { return seen[i].GID }, gids},
	} {
		t := trace{kind: side.kind, over: over, mount: f.Mount, disk: side.disk, host: side.host, levels: levels, id: side.id, maps: side.maps}
		if n, nobody := t.why(); nobody {
			why = append(why, n)
		}
	}
	return seen, why
}
