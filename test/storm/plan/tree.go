package plan

import (
	"fmt"

	"github.com/eyas-agent/eyas/test/storm/account"
)

// The kernel's limits on nesting: MAX_PID_NS_LEVEL, and the check on level in
// create_user_ns.
const (
	MaxPIDLevel  = 32
	MaxUserLevel = 33
)

// Form tells which namespaces a node is cloned into.
type Form struct{ PID, User, Others bool } // Others: mnt, uts, ipc, cgroup

// Node is one process of the tree. A node with Form.PID is a container; one
// without lives in the pid namespace of an ancestor and only carries a user
// namespace.
type Node struct {
	ID, Parent          int // ids start at 1; parent 0 is the host
	Form                Form
	PIDLevel, UserLevel int
	UIDMap, GIDMap      []account.Extent // of the user namespace it lives in, written for it if Form.User
	HostUIDs, HostGIDs  []account.Extent // the same as the host sees it, down to its own ids
	Exec                bool             // whether its pid 1 execs a program
	Target              bool

	uids, gids []Range // what exists in its user namespace
}

// builder grows the tree; roots counts the maps onto the host's ids.
type builder struct {
	nodes []Node
	roots int
}

var (
	formBoth     = Form{PID: true, User: true, Others: true}
	formPID      = Form{PID: true, Others: true}
	formPIDAlone = Form{PID: true}
	formUser     = Form{User: true}
)

// extentsAt says how many extents the user namespace of a level has: one, the
// five that fit into the kernel's struct, more than that, and the most there can
// be. uid and gid never agree.
func extentsAt(level int) (uid, gid int) {
	switch level % 6 {
	case 1:
		return 1, 5
	case 2:
		return 5, 1
	case 3:
		return 12, 6
	case 4:
		if level == 4 {
			return MaxExtents, 12
		}
		return 1, 12
	case 5:
		if level == 5 {
			return 6, MaxExtents
		}
		return 6, 2
	}
	return 3, 1
}

func (b *builder) add(parent int, form Form, target bool) (int, error) {
	n := Node{ID: len(b.nodes) + 1, Parent: parent, Form: form, Target: target && form.PID}
	n.Exec = n.ID%5 != 4
	n.HostUIDs, n.HostGIDs = everyID(), everyID()
	if parent > 0 {
		p := b.nodes[parent-1]
		n.PIDLevel, n.UserLevel, n.uids, n.gids = p.PIDLevel, p.UserLevel, p.uids, p.gids
		n.UIDMap, n.GIDMap = p.UIDMap, p.GIDMap
		n.HostUIDs, n.HostGIDs = p.HostUIDs, p.HostGIDs
	}
	if form.PID {
		n.PIDLevel++
	}
	if form.User {
		if n.UserLevel == 0 {
			n.uids, n.gids = hostRange(uidBase, b.roots), hostRange(gidBase, b.roots)
			b.roots++
		}
		n.UserLevel++
		uid, gid := extentsAt(n.UserLevel)
		var err error
		if n.UIDMap, err = derive(n.uids, uid); err != nil {
			return 0, err
		}
		if n.GIDMap, err = derive(n.gids, gid); err != nil {
			return 0, err
		}
		if n.HostUIDs, err = compose(n.UIDMap, n.HostUIDs); err != nil {
			return 0, err
		}
		if n.HostGIDs, err = compose(n.GIDMap, n.HostGIDs); err != nil {
			return 0, err
		}
		n.uids, n.gids = insides(n.UIDMap), insides(n.GIDMap)
	}
	if n.PIDLevel > MaxPIDLevel || n.UserLevel > MaxUserLevel {
		return 0, fmt.Errorf("plan tree: pid level %d, user level %d exceed the kernel's %d and %d",
			n.PIDLevel, n.UserLevel, MaxPIDLevel, MaxUserLevel)
	}
	b.nodes = append(b.nodes, n)
	return n.ID, nil
}

// Tree plans at least containers target containers over pid levels low to high,
// parents before children. A spine of pid+user namespaces reaches the deepest
// level; what is asked beyond it branches off in four mixed forms: only pid
// namespaces from the top, user and pid namespaces in turn, siblings of the
// spine, and only pid namespaces at the bottom. With low = 1 one container sits
// at pid level 1 under the kernel's most user namespaces. Levels above low that
// must exist are containers too, but no targets.
func Tree(containers, low, high int) ([]Node, error) {
	if containers < 1 || low < 1 || high < low || high > MaxPIDLevel {
		return nil, fmt.Errorf("plan tree: %d containers at levels %d-%d", containers, low, high)
	}
	var b builder
	spine := make([]int, high+1) // spine[0] is the host
	for level := 1; level <= high; level++ {
		id, err := b.add(spine[level-1], formBoth, level >= low)
		if err != nil {
			return nil, err
		}
		spine[level] = id
	}
	above := func(level int) int { return spine[level-1] }
	level := func(id int) int {
		if id == 0 {
			return 0
		}
		return b.nodes[id-1].PIDLevel
	}
	deep := low == 1
	onlyPID, turns := above(low), above(low+(high-low)/2)
	for extra := range containers - (high - low + 1) {
		var err error
		switch extra % 4 {
		case 0:
			if level(onlyPID) == high {
				onlyPID = above(low)
			}
			onlyPID, err = b.add(onlyPID, formPIDAlone, true)
		case 1:
			if level(turns) == high {
				turns = above(low)
			}
			if turns, err = b.add(turns, formUser, false); err == nil {
				turns, err = b.add(turns, formPID, true)
			}
		case 2:
			if deep && extra > 4 {
				deep = false
				err = b.addDeepUser()
				break
			}
			_, err = b.add(above(low+extra*7%(high-low+1)), formBoth, true)
		case 3:
			_, err = b.add(above(high), formPID, true)
		}
		if err != nil {
			return nil, err
		}
	}
	return b.nodes, nil
}

// Nest plans a chain of containers down to level-1, and n target siblings at
// level below it, all with namespaces of every kind: none of them shares its
// hostname with the machine.
func Nest(n, level int) ([]Node, error) {
	if n < 1 || level < 1 {
		return nil, fmt.Errorf("plan nest: %d containers at level %d", n, level)
	}
	var b builder
	at := 0
	for range level - 1 {
		id, err := b.add(at, formBoth, false)
		if err != nil {
			return nil, err
		}
		at = id
	}
	for range n {
		if _, err := b.add(at, formBoth, true); err != nil {
			return nil, err
		}
	}
	return b.nodes, nil
}

// addDeepUser adds a container at pid level 1 and user level MaxUserLevel.
func (b *builder) addDeepUser() error {
	at := 0
	for range MaxUserLevel - 1 {
		id, err := b.add(at, formUser, false)
		if err != nil {
			return err
		}
		at = id
	}
	_, err := b.add(at, formBoth, true)
	return err
}
