package identity

import (
	"strings"
	"time"
)

// Link is one step of a chain in an answer. Ids that the step's namespace does
// not map are null and Unmapped is true: never the overflow id.
type Link struct {
	Kind        string `json:"kind"` // node, container
	ID          string `json:"id"`
	Name        string `json:"name"`
	Runtime     string `json:"runtime"`
	ContainerID string `json:"container_id,omitempty"`
	Image       string `json:"image,omitempty"`
	PodUID      string `json:"pod_uid,omitempty"`
	Pod         *Pod   `json:"pod,omitempty"` // of an outermost container
	Level       int    `json:"level"`
	PID         *PID   `json:"pid"`
	UID         *UID   `json:"uid"`
	GID         *GID   `json:"gid"`
	Unmapped    bool   `json:"unmapped,omitempty"`
	PIDNS       uint32 `json:"pidns"`
	UserNS      uint32 `json:"userns"`
}

// Title is what people call a container: that of a pod, or its own name.
func (l Link) Title() string {
	if l.Pod != nil {
		return l.Pod.Title()
	}
	return l.Name
}

// Host are the ids on the host.
type Host struct {
	PID       HostPID   `json:"pid"`
	UID       HostUID   `json:"uid"` // effective
	GID       HostGID   `json:"gid"`
	StartTime time.Time `json:"start_time"`
}

// UserLevel is a process's ids in one user namespace of its chain, by the
// kernel's own levels: all of them, also those that are no container's.
type UserLevel struct {
	Level    int    `json:"level"`
	UserNS   uint32 `json:"userns"`
	UID      *UID   `json:"uid"`
	GID      *GID   `json:"gid"`
	Unmapped bool   `json:"unmapped,omitempty"`
}

// Exit says how a process ended.
type Exit struct {
	Code   int  `json:"code"`             // exit status, -1 when killed
	Signal int  `json:"signal,omitempty"` // 0: none
	Core   bool `json:"core_dumped,omitempty"`
	OOM    bool `json:"oom_killed,omitempty"`
}

// Identity answers "who is this process?".
type Identity struct {
	State     string      `json:"state"` // live, exited
	Host      Host        `json:"host"`
	Command   string      `json:"command"` // the arguments, or the comm
	Comm      string      `json:"comm"`
	Exe       string      `json:"exe,omitempty"`
	Argv      []string    `json:"argv,omitempty"`
	ArgvCut   bool        `json:"argv_cut,omitempty"`
	PPID      HostPID     `json:"ppid"`
	LoginUID  *uint32     `json:"login_uid"`
	MntNS     uint32      `json:"mntns,omitempty"`
	Threads   uint32      `json:"threads"`
	Cgroup    string      `json:"cgroup"`
	Escaped   bool        `json:"escaped,omitempty"` // lives outside the cgroup of the container around it
	FirstSeen time.Time   `json:"first_seen"`
	LastSeen  time.Time   `json:"last_seen"`
	Exit      *Exit       `json:"exit,omitempty"` // nil also when it is not known how it ended
	Chain     []Link      `json:"chain"`
	PIDs      []PID       `json:"pids"`        // at every pid level, the host's first
	UserNSs   []UserLevel `json:"user_levels"` // at every user level, the host's first
}

// Node is the host in an answer.
type Node struct {
	ID     string // boot id, shortened
	Name   string // host name
	PIDNS  uint32
	UserNS uint32
}

// Lookup finds records by key; false when they are not known (any more).
type Lookup interface {
	Container(id string) (ContainerRecord, bool)
	UserNS(key NSKey) (UserNSRecord, bool)
}

// ChainOf returns the containers from the outermost to the one with the id.
// A broken chain (history pruned) starts where it is known.
func ChainOf(id string, l Lookup) []ContainerRecord {
	var chain []ContainerRecord
	for id != "" && len(chain) < maxChain {
		c, ok := l.Container(id)
		if !ok {
			break
		}
		chain = append([]ContainerRecord{c}, chain...)
		id = c.Parent
	}
	return chain
}

// maxChain is more than pid and user levels together can make.
const maxChain = 80

// Describe makes the answer about a process.
func Describe(p ProcessRecord, node Node, l Lookup) Identity {
	id := Identity{
		State: "live", Host: Host{PID: p.PID, UID: p.UID, GID: p.GID, StartTime: p.StartTime},
		Command: command(p), Comm: p.Comm, Exe: p.Exe, Argv: p.Argv, ArgvCut: p.ArgvCut, PPID: p.PPID,
		MntNS: p.MntNS, Threads: p.Threads, Cgroup: p.Cgroup, Escaped: p.Outside,
		FirstSeen: p.First, LastSeen: p.Last, PIDs: append([]PID{PID(p.PID)}, p.PIDs...),
	}
	if p.LoginUID != NoID {
		id.LoginUID = &p.LoginUID
	}
	if p.Exited {
		id.State = "exited"
		if p.ExitTold {
			id.Exit = describeExit(p)
		}
	}
	id.Chain = append(id.Chain, nodeLink(node, p))
	for _, c := range ChainOf(p.Container, l) {
		link := containerLink(c)
		if c.PIDLevel >= 1 && c.PIDLevel <= len(p.PIDs) {
			link.PID = &p.PIDs[c.PIDLevel-1]
		} else if c.PIDLevel == 0 {
			pid := PID(p.PID)
			link.PID = &pid
		}
		ns, known := userNSRecord(c.UserNS, c.UserLevel, l)
		link.setIDs(ns, known, p.UID, p.GID)
		id.Chain = append(id.Chain, link)
	}
	id.UserNSs = userLevels(p, node, l)
	return id
}

func (k *Link) setIDs(ns UserNSRecord, known bool, uid HostUID, gid HostGID) {
	if known {
		if u, ok := ns.UIDs.FromHost(uid); ok {
			k.UID = &u
		}
		if g, ok := ns.GIDs.FromHost(gid); ok {
			k.GID = &g
		}
	}
	k.Unmapped = k.UID == nil || k.GID == nil
}

// userNSRecord finds a user namespace; the initial one maps all to itself.
func userNSRecord(key NSKey, level int, l Lookup) (UserNSRecord, bool) {
	if level == 0 {
		return UserNSRecord{Key: key, UIDs: UIDMap{{Count: NoID}}, GIDs: GIDMap{{Count: NoID}}, Mapped: true}, true
	}
	return l.UserNS(key)
}

func userLevels(p ProcessRecord, node Node, l Lookup) []UserLevel {
	var inner []UserLevel
	for key := p.UserNS; !key.IsZero() && len(inner) < maxChain; {
		ns, ok := l.UserNS(key)
		if !ok || ns.Level == 0 {
			break
		}
		lv := UserLevel{Level: ns.Level, UserNS: ns.Key.Inum}
		if u, ok := ns.UIDs.FromHost(p.UID); ok {
			lv.UID = &u
		}
		if g, ok := ns.GIDs.FromHost(p.GID); ok {
			lv.GID = &g
		}
		lv.Unmapped = lv.UID == nil || lv.GID == nil
		inner = append([]UserLevel{lv}, inner...)
		key = ns.Parent
	}
	uid, gid := UID(p.UID), GID(p.GID)
	return append([]UserLevel{{UserNS: node.UserNS, UID: &uid, GID: &gid}}, inner...)
}

func nodeLink(node Node, p ProcessRecord) Link {
	pid, uid, gid := PID(p.PID), UID(p.UID), GID(p.GID)
	return Link{
		Kind: "node", ID: node.ID, Name: node.Name, Runtime: "host",
		PID: &pid, UID: &uid, GID: &gid, PIDNS: node.PIDNS, UserNS: node.UserNS,
	}
}

func containerLink(c ContainerRecord) Link {
	return Link{
		Kind: "container", ID: c.ID, Name: c.Display, Runtime: c.Name.Runtime, ContainerID: c.Name.ID,
		Image: c.Name.Image, PodUID: c.Name.PodUID, Pod: c.Pod, Level: c.Level, PIDNS: c.PIDNS.Inum, UserNS: c.UserNS.Inum,
	}
}

func command(p ProcessRecord) string {
	if len(p.Argv) == 0 || strings.Join(p.Argv, "") == "" {
		return p.Comm
	}
	return strings.Join(p.Argv, " ")
}

func describeExit(p ProcessRecord) *Exit {
	e := &Exit{Code: int(p.ExitCode >> 8 & 0xff), OOM: p.OOM}
	if sig := int(p.ExitCode & 0x7f); sig != 0 {
		e.Code, e.Signal, e.Core = -1, sig, p.ExitCode&0x80 != 0
	}
	return e
}
