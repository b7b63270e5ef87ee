package identity

import "sort"

// NSAnswer is one user namespace as `eyas map` shows it.
type NSAnswer struct {
	UserNS     uint32   `json:"userns"`
	Parent     uint32   `json:"parent"`
	Level      int      `json:"level"`
	OwnerUID   HostUID  `json:"owner_uid"` // host ids of who made it
	OwnerGID   HostGID  `json:"owner_gid"`
	Mapped     bool     `json:"mapped"` // false: no map was written yet
	Partial    bool     `json:"partial,omitempty"`
	UIDMap     []Extent `json:"uid_map"` // as its parent sees it
	GIDMap     []Extent `json:"gid_map"`
	HostUIDMap UIDMap   `json:"host_uid_map"` // composed through all levels
	HostGIDMap GIDMap   `json:"host_gid_map"`
	Containers []string `json:"containers"` // short ids of the containers in it
	Processes  int      `json:"processes"`
	Overlaps   []Shared `json:"overlaps,omitempty"`
}

// Shared is a range of host ids that another user namespace, neither an
// ancestor nor a descendant, has as well: files and signals cross there.
type Shared struct {
	With  uint32 `json:"with"` // inum
	Kind  string `json:"kind"` // uid, gid
	Host  uint32 `json:"host"`
	Count uint32 `json:"count"`
}

// maxOverlaps bounds what one namespace lists.
const maxOverlaps = 64

type span struct {
	lo, hi uint64
	ns     int
}

// Overlaps finds, for each namespace of all, the host ranges shared with
// unrelated ones. parent gives the index of a namespace's parent, -1 for none.
func Overlaps(all []NSAnswer, parent []int) {
	related := func(a, b int) bool {
		for x := a; x >= 0; x = parent[x] {
			if x == b {
				return true
			}
		}
		for x := b; x >= 0; x = parent[x] {
			if x == a {
				return true
			}
		}
		return false
	}
	sweep := func(kind string, extents func(int) []Extent) {
		var spans []span
		for i := range all {
			for _, e := range extents(i) {
				spans = append(spans, span{uint64(e.Host), uint64(e.Host) + uint64(e.Count), i})
			}
		}
		sort.Slice(spans, func(i, j int) bool { return spans[i].lo < spans[j].lo })
		var open []span
		for _, s := range spans {
			kept := open[:0]
			for _, o := range open {
				if o.hi <= s.lo {
					continue
				}
				kept = append(kept, o)
				if o.ns == s.ns || related(o.ns, s.ns) {
					continue
				}
				hi := min(o.hi, s.hi)
				all[o.ns].share(Shared{With: all[s.ns].UserNS, Kind: kind, Host: uint32(s.lo), Count: uint32(hi - s.lo)})
				all[s.ns].share(Shared{With: all[o.ns].UserNS, Kind: kind, Host: uint32(s.lo), Count: uint32(hi - s.lo)})
			}
			open = append(kept, s)
		}
	}
	sweep("uid", func(i int) []Extent { return all[i].HostUIDMap })
	sweep("gid", func(i int) []Extent { return all[i].HostGIDMap })
}

func (n *NSAnswer) share(o Shared) {
	if len(n.Overlaps) < maxOverlaps {
		n.Overlaps = append(n.Overlaps, o)
	}
}

// TreeNode is one container as `eyas tree` shows it.
type TreeNode struct {
	Link
	InitPID   HostPID    `json:"init_pid,omitempty"` // host pid of its first process
	Cgroup    string     `json:"cgroup,omitempty"`
	Escaped   bool       `json:"escaped,omitempty"`
	Processes int        `json:"processes"` // its own, without those further in
	Zombies   int        `json:"zombies"`
	Peak      int        `json:"peak"`
	Children  []TreeNode `json:"children,omitempty"`
}

// TreeLink returns the link of a container without a process's ids.
func TreeLink(c ContainerRecord) Link { return containerLink(c) }
