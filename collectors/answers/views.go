package answers

import (
	"context"
	"fmt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Tree returns the live containers as a forest, outermost first.
func (a *Answers) Tree(ctx context.Context) ([]identity.TreeNode, error) {
	if err := a.Tracker.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("refresh: %w", err)
	}
	roots := []identity.TreeNode{}
	a.Tracker.View(func(t *identity.Table, zombies map[string]int) {
		children := map[string][]*identity.Container{}
		for _, c := range t.Containers() {
			parent := ""
			if c.Parent != nil {
				parent = c.Parent.ID
			}
			children[parent] = append(children[parent], c)
		}
		var grow func(id string) []identity.TreeNode
		grow = func(id string) []identity.TreeNode {
			var nodes []identity.TreeNode
			for _, c := range children[id] {
				r := c.Record(a.Clock)
				n := identity.TreeNode{
					Link: identity.TreeLink(r), InitPID: r.Init, Cgroup: r.Cgroup, Escaped: r.Escaped,
					Processes: c.Live, Zombies: zombies[c.ID], Peak: c.Peak, Children: grow(c.ID),
				}
				nodes = append(nodes, n)
			}
			return nodes
		}
		roots = append(roots, grow("")...)
	})
	return roots, nil
}

// Map returns the live user namespaces with their maps; with a chain, those of
// that container and of those inside it.
func (a *Answers) Map(ctx context.Context, chain string) ([]identity.NSAnswer, error) {
	if err := a.Tracker.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("refresh: %w", err)
	}
	only := ""
	if chain != "" {
		c, err := a.Select(chain)
		if err != nil {
			return nil, err
		}
		only = c.ID
	}
	out := []identity.NSAnswer{}
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		spaces := t.UserNamespaces()
		index := make(map[*identity.UserNamespace]int, len(spaces))
		all := make([]identity.NSAnswer, len(spaces))
		parents := make([]int, len(spaces))
		for i, u := range spaces {
			index[u] = i
			all[i] = answerNS(u)
			parents[i] = -1
			if u.Parent != nil {
				if j, ok := index[u.Parent]; ok {
					parents[i] = j
				}
			}
		}
		identity.Overlaps(all, parents)
		wanted := map[int]bool{}
		for _, c := range t.Containers() {
			i, ok := index[c.UserNS]
			if !ok {
				continue
			}
			all[i].Containers = append(all[i].Containers, c.ID)
			if only == "" || within(c, only) {
				wanted[i] = true
			}
		}
		for _, p := range t.Processes() {
			if n := len(p.Home.UserNSs); n > 0 {
				all[index[p.Home.UserNSs[n-1]]].Processes++
			}
		}
		for i := range all {
			if only == "" || wanted[i] {
				out = append(out, all[i])
			}
		}
	})
	return out, nil
}

func answerNS(u *identity.UserNamespace) identity.NSAnswer {
	n := identity.NSAnswer{
		UserNS: u.Key.Inum, Level: u.Level, OwnerUID: u.OwnerUID, OwnerGID: u.OwnerGID,
		Mapped: u.Mapped, Partial: u.Partial, HostUIDMap: u.UIDs, HostGIDMap: u.GIDs,
		UIDMap: u.UIDs, GIDMap: u.GIDs, Containers: []string{},
	}
	if u.Parent != nil {
		n.Parent = u.Parent.Key.Inum
		if u.Parent.Level > 0 {
			n.UIDMap, n.GIDMap = u.UIDs.Relative(u.Parent.UIDs), u.GIDs.Relative(u.Parent.GIDs)
		}
	}
	return n
}
