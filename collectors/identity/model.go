package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// UserNamespace is a user namespace that has, or had, nested processes.
type UserNamespace struct {
	Key      NSKey
	Parent   *UserNamespace // nil for the initial one
	Level    int            // 0 is the initial one
	OwnerUID HostUID
	OwnerGID HostGID
	UIDs     UIDMap
	GIDs     GIDMap
	Mapped   bool // a map has been written and read
	Partial  bool // …but not all of its extents could be read
	First    uint64
	Last     uint64 // ns since boot

	id   uint64 // the kernel's ns_id, 0 before 6.18
	sum  uint64 // digest of the maps as last told
	told uint64 // when that was, ns since boot
	refs int    // live processes, and live namespaces below
	gone bool
}

// PIDNamespace is a pid namespace other than the initial one.
type PIDNamespace struct {
	Key   NSKey
	Level int
	Owner *UserNamespace // may be nil: a process entered without its user namespace
}

// Container is one link of a chain. Kinds: a pid namespace with everything in
// it; a user namespace without a pid namespace of its own; a cgroup that a
// runtime's pattern names, in the namespaces of its parent.
type Container struct {
	ID     string // stable short id: 12 hex digits
	Parent *Container
	Level  int // 1 is an outermost container
	PIDNS  NSKey
	// PIDLevel and UserLevel say which of the kernel's levels this link is at.
	PIDLevel  int
	UserNS    *UserNamespace
	UserLevel int

	Name    Name
	Pod     *Pod   // of an outermost container; nil: Kubernetes knows none
	Cgroup  string // of its first process, below the cgroup2 mount; "" unknown
	Root    string // the part of Cgroup that holds the container's subtree
	Escaped bool   // lives outside its parent's cgroup subtree
	First   uint64 // ns since boot
	Last    uint64

	Init     ProcessKey // its first process
	InitComm string     // raw
	Nodename string     // raw
	around   string     // host name of what is around an outermost container
	Live     int        // processes, without those in containers inside
	Peak     int
	Children int  // live containers right below
	byUser   bool // a user namespace without a pid namespace of its own
	gone     bool
	brief    *Pod      // without labels, for what is told often
	labels   PodLabels // zero: those it has without Kubernetes
}

// Name is what evidence says of a container. All text is raw and hostile.
type Name struct {
	Runtime string `json:"runtime,omitempty"`
	ID      string `json:"container_id,omitempty"` // the runtime's own id
	Name    string `json:"name,omitempty"`
	Image   string `json:"image,omitempty"`
	PodUID  string `json:"pod_uid,omitempty"`
	Source  string `json:"source,omitempty"` // where the name is from
}

// Gone reports whether nothing lives in the container or below it any more.
func (c *Container) Gone() bool { return c.gone }

// Chain returns the containers from the outermost to c.
func (c *Container) Chain() []*Container {
	chain := make([]*Container, c.Level)
	for x := c; x != nil; x = x.Parent {
		chain[x.Level-1] = x
	}
	return chain
}

// Outer returns the outermost container of c's chain.
func (c *Container) Outer() *Container {
	for c.Parent != nil {
		c = c.Parent
	}
	return c
}

// hostAround is the host name a container has that does not set its own.
func (c *Container) hostAround() string {
	if c.Parent != nil {
		return c.Parent.Nodename
	}
	return c.around
}

// DisplayName returns the best name there is, raw: a runtime's, the host name
// if the container has its own, its first command, else the id.
func (c *Container) DisplayName() string {
	switch {
	case c.Name.Name != "":
		return c.Name.Name
	case c.Name.ID != "":
		return short(c.Name.ID)
	case c.Nodename != "" && c.Nodename != c.hostAround():
		return c.Nodename
	case c.InitComm != "":
		return c.InitComm
	}
	return c.ID
}

// short cuts an id of hex digits as the engines themselves do. One that somebody
// chose, as for runc, is a name and stays whole.
func short(id string) string {
	if len(id) > 12 && isHex(id) {
		return id[:12]
	}
	return id
}

// Process is one process (thread group) of the table.
type Process struct {
	Key       ProcessKey
	PPID      HostPID
	UID       HostUID // effective
	GID       HostGID
	RUID      HostUID // real
	RGID      HostGID
	LoginUID  uint32
	MntNS     uint32
	Threads   uint32
	Container *Container
	Home      *Home
	PIDs      []PID // by pid level, from level 1 inwards
	Cgroup    *Cgroup
	Comm      string // raw, as are Exe and Argv
	Exe       string
	Argv      []string
	ArgvCut   bool
	ExecID    uint32 // counts execs, from an arbitrary start
	First     uint64 // ns since boot
	Last      uint64
	Zombie    bool
	Exited    bool
	ExitTold  bool   // the kernel told how; else ExitCode and OOM say nothing
	ExitCode  uint32 // as wait(2)
	OOM       bool
	Outside   bool // its cgroup lies outside its container's parent's subtree
}

// Cgroup is a v2 cgroup that has nested processes.
type Cgroup struct {
	ID   uint64
	Path string // below the mount point; "" when it could not be resolved
	refs int
}

// Home is what all processes of the same innermost namespaces share.
type Home struct {
	PIDNSs  []NSKey // by level, from 1 inwards
	UserNSs []*UserNamespace
	Links   []*Container // by namespaces, from the outermost inwards
	key     homeKey
	refs    int
}

type homeKey struct{ pid, user NSKey }

// stableID derives the short id of a container from what names it for good.
func stableID(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%v\x00", p)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}
