package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"
)

// kubelet's defaults of maxPods and idsPerPod, and the last block of ids, which
// ends in 4294967295: the kernel maps that id to nobody and answers EINVAL.
const (
	maxPods       = 110
	idsPerPod     = 65536
	terminalBlock = 4294901760
)

const kubeletDefault = "kubelet's default"

func kubeletChecks() []check[*Node] {
	const line = "kubelet:805306368:268435456"
	return []check[*Node]{
		{
			id: "kubelet-range", what: "kubelet has a range of ids of its own", look: (*Node).kubeletRange,
			why: "without a user named kubelet it picks blocks at random from 65536 up, on top of everybody else's; with a line that it does not accept it does not start",
			fix: "drain the node, add a system user kubelet and the line " + line + " to /etc/subuid and /etc/subgid, start kubelet",
		},
		{
			id: "kubelet-range-shared", what: "nobody else has kubelet's ids", look: (*Node).kubeletShared,
			why: "the documented range 65536:7208960 overlaps the first user of every distribution, 100000:65536",
			fix: "drain the node and move kubelet's range above 600100000, such as " + line,
		},
		{
			id: "kubelet-range-terminal", what: "kubelet cannot pick the last block", look: (*Node).kubeletTerminal,
			why: "a pod that gets block 4294901760 fails for ever with \"failed to start noop process for unshare: invalid argument\"",
			fix: "end kubelet's range below 4294901760; delete a pod that has that block",
		},
		{
			id: "kubelet-range-capacity", what: "kubelet's range is enough for all pods", look: (*Node).kubeletCapacity,
			why: "kubelet does not start when its range has fewer blocks than maxPods",
			fix: "give it at least maxPods × idsPerPod ids; see --max-pods",
		},
		{
			id: "kubelet-records", what: "the blocks that pods have lie in kubelet's range", look: (*Node).kubeletRecords,
			why: "a range changed under living pods stops kubelet: \"record pod mappings: id N is out of range\"",
			fix: "put the old range back, drain the node, then change it",
		},
	}
}

// kubeletConfig is what is used of kubelet's configuration.
type kubeletConfig struct {
	MaxPods        int `yaml:"maxPods"`
	UserNamespaces struct {
		IDsPerPod uint64 `yaml:"idsPerPod"`
	} `yaml:"userNamespaces"`
}

// kubeletConfig reads it where kubeadm and most distributions have it. Flags
// of kubelet and other places are not seen: NodeOptions.MaxPods is for those.
func (n *Node) kubeletConfig() (c kubeletConfig) {
	if b, err := n.root.read(kubeletDir+"/config.yaml", maxText); err == nil {
		if yaml.Unmarshal(b, &c) != nil {
			c = kubeletConfig{} // kubelet itself complains
		}
	}
	if n.maxPods > 0 {
		c.MaxPods = n.maxPods
	}
	if c.MaxPods <= 0 {
		c.MaxPods = maxPods
	}
	if c.UserNamespaces.IDsPerPod == 0 {
		c.UserNamespaces.IDsPerPod = idsPerPod
	}
	return c
}

// ranges of kubelet, as getsubids would print them: those of the user by name
// or by uid.
type kubeletRanges struct{ uids, gids []subRange }

// errNoKubeletUser means that kubelet uses all ids from 65536 up.
var errNoKubeletUser = errors.New("no user kubelet: kubelet picks blocks at random from 65536 up")

func (n *Node) kubeletRanges() (k kubeletRanges, err error) {
	source, err := n.subidSource()
	if err != nil {
		return k, err
	}
	if source != "files" {
		return k, fmt.Errorf("sub-ids come from %q, which doctor cannot ask", source)
	}
	if _, exists := n.users()["kubelet"]; !exists {
		return k, errNoKubeletUser
	}
	same := n.sameUser()
	for _, side := range []struct {
		name string
		to   *[]subRange
	}{{"subuid", &k.uids}, {"subgid", &k.gids}} {
		all, _, err := n.subIDs(side.name)
		if err != nil {
			return k, err
		}
		*side.to = slices.DeleteFunc(all, func(r subRange) bool { return !same(r.owner, "kubelet") })
	}
	return k, nil
}

// one returns the range if a kubelet with that idsPerPod accepts it.
func (k kubeletRanges) one(perPod uint64) (subRange, error) {
	if len(k.uids) != 1 || len(k.gids) != 1 {
		return subRange{}, fmt.Errorf("want one line in each file, got %d in /etc/subuid and %d in /etc/subgid", len(k.uids), len(k.gids))
	}
	r := k.uids[0]
	switch {
	case !r.sameIDs(k.gids[0]):
		return r, fmt.Errorf("/etc/subuid has %s, /etc/subgid has %s", r, k.gids[0])
	case perPod%idsPerPod != 0:
		return r, fmt.Errorf("idsPerPod is %d, want a multiple of %d", perPod, idsPerPod)
	case r.first < perPod:
		return r, fmt.Errorf("%s begins below %d", r, perPod)
	case r.first%perPod != 0 || r.count%perPod != 0:
		return r, fmt.Errorf("%s: first and count must be multiples of %d", r, perPod)
	}
	return r, nil
}

// withRange finds kubelet's range, or says why a check of it is moot.
func (n *Node) withRange(judge func(subRange) finding) finding {
	if !n.kubernetes() {
		return mootf("no kubelet here")
	}
	k, err := n.kubeletRanges()
	if errors.Is(err, errNoKubeletUser) {
		// What getsubids would not restrict: kubelet's own default.
		return judge(subRange{owner: kubeletDefault, first: idsPerPod, count: 1<<32 - idsPerPod})
	}
	if err != nil {
		return unreadable(err)
	}
	r, err := k.one(n.kubeletConfig().UserNamespaces.IDsPerPod)
	if err != nil {
		return unknownf("see kubelet-range: %v", err)
	}
	return judge(r)
}

func (n *Node) kubeletRange(context.Context) finding {
	if !n.kubernetes() {
		return mootf("no kubelet here")
	}
	k, err := n.kubeletRanges()
	switch {
	case errors.Is(err, errNoKubeletUser):
		return warnf("%v", err)
	case err != nil:
		return unreadable(err)
	}
	r, err := k.one(n.kubeletConfig().UserNamespaces.IDsPerPod)
	if err != nil {
		return failf("%v", err)
	}
	if _, found := n.findTool("getsubids"); !found {
		return warnf("%s, but no getsubids: kubelet cannot see it and picks at random", r).withFix("install it (Debian: uidmap, Fedora: shadow-utils-subid)")
	}
	return okf("%s", r)
}

func (n *Node) kubeletShared(context.Context) finding {
	return n.withRange(func(r subRange) finding {
		var shared []string
		same := n.sameUser()
		for _, name := range []string{"subuid", "subgid"} {
			all, _, err := n.subIDs(name)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return unreadable(err)
			}
			for _, o := range all {
				if !same(o.owner, "kubelet") && o.first < r.end() && r.first < o.end() {
					shared = append(shared, fmt.Sprintf("%s of %s", o, name))
				}
			}
		}
		switch {
		case len(shared) > 0 && r.owner == kubeletDefault: // it may, by chance
			return warnf("%s overlaps %s", r, named(shared))
		case len(shared) > 0:
			return failf("%s overlaps %s", r, named(shared))
		}
		return okf("%s: nobody else's", r)
	})
}

func (n *Node) kubeletTerminal(context.Context) finding {
	return n.withRange(func(r subRange) finding {
		if r.end() > terminalBlock {
			return warnf("%s holds block %d", r, terminalBlock)
		}
		return okf("%s", r)
	})
}

func (n *Node) kubeletCapacity(context.Context) finding {
	return n.withRange(func(r subRange) finding {
		c := n.kubeletConfig()
		blocks := r.count / c.UserNamespaces.IDsPerPod
		if blocks < uint64(c.MaxPods) {
			return failf("%d blocks for %d pods", blocks, c.MaxPods)
		}
		return okf("%d blocks for %d pods", blocks, c.MaxPods)
	})
}
