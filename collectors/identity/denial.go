package identity

import "time"

// DenialRecord is a kind of refusal that a container met, and the last of them.
type DenialRecord struct {
	Op         string  `json:"op"`                    // what was refused: mount, chown, fork, …
	Error      string  `json:"error"`                 // as the caller got it: EPERM, …
	Cause      string  `json:"cause"`                 // capability, owner_unmapped, id_unmapped, …
	Capability string  `json:"capability,omitempty"`  // that was missing, of cause capability
	Limit      string  `json:"limit,omitempty"`       // sysctl below user., of cause userns_limit
	Syscall    string  `json:"syscall"`               // of the last one
	FileSystem string  `json:"file_system,omitempty"` // of cause file_server
	Count      uint64  `json:"count"`                 // of this kind, since First
	Container  string  `json:"container"`             // id
	Comm       string  `json:"comm"`                  // hostile
	PID        HostPID `json:"pid"`
	Start      uint64  `json:"start"` // of the process, ns since boot
	UID        HostUID `json:"uid"`   // effective
	GID        HostGID `json:"gid"`
	UserNS     NSKey   `json:"userns,omitzero"` // zero: not known
	UserNSInum uint32  `json:"userns_inum"`
	// TargetLevel is the level of the user namespace in which the capability was
	// wanted, or at whose limit, or one above it, the caller was. 0 is the node's.
	TargetLevel int       `json:"target_level"`
	Target      uint32    `json:"target_userns,omitempty"` // its inum
	IDs         [3]uint32 `json:"ids"`                     // what they are depends on Op and Cause; see DenialAnswer
	Device      string    `json:"device,omitempty"`        // of the file, major:minor
	Inode       uint64    `json:"inode,omitempty"`         // of the file
	First       time.Time `json:"first"`
	Time        time.Time `json:"time"` // of the last one; zero: not known
	StartTime   time.Time `json:"start_time"`
}

// DenialAnswer answers "what was refused, and why?" with both ids.
type DenialAnswer struct {
	Op         string    `json:"op"`
	Error      string    `json:"error"`
	Cause      string    `json:"cause"`
	Capability string    `json:"capability,omitempty"`
	Limit      string    `json:"limit,omitempty"`
	Syscall    string    `json:"syscall,omitempty"`
	FileSystem string    `json:"file_system,omitempty"` // that another machine or process serves
	Count      uint64    `json:"count"`
	First      time.Time `json:"first"`
	Time       time.Time `json:"time"`
	Comm       string    `json:"comm"`
	Host       Host      `json:"host"`
	PIDs       []PID     `json:"pids"`
	Chain      []Link    `json:"chain"`
	// UserLevel is the level of the process's user namespace, 0 for the node's, -1
	// where it is not known.
	UserLevel   int    `json:"user_level"`
	TargetLevel int    `json:"target_level"`
	Target      uint32 `json:"target_userns,omitempty"`
	// Asked are the ids that were asked for, as the caller knows them; null
	// where none was.
	AskedUID *UID `json:"asked_uid,omitempty"`
	AskedGID *GID `json:"asked_gid,omitempty"`
	// Owner of the file, on the host, through the mount's id map if it has one;
	// 4294967295: that does not have the owner.
	OwnerUID *HostUID `json:"owner_uid,omitempty"`
	OwnerGID *HostGID `json:"owner_gid,omitempty"`
	FileMode *uint32  `json:"file_mode,omitempty"` // as stat(2) has it, of causes mode and file_server
	Device   string   `json:"device,omitempty"`
	Inode    uint64   `json:"inode,omitempty"`
	Flags    uint32   `json:"flags,omitempty"` // of fork, unshare and setns
	// State is that of the process: live, exited, or unknown. Exit is how it ended, null
	// where that is not known. Tools try what they can do without: one that went on and
	// ended well was not hurt by a refusal.
	State string `json:"state"`
	Exit  *Exit  `json:"exit,omitempty"`
	// CapabilityUnknown: of cause other, where no program tells which capability
	// was missing, if one was.
	CapabilityUnknown bool `json:"capability_unknown,omitempty"`
	// UIDs and GIDs are the maps of the process's user namespace; empty where
	// they are not known.
	UIDs UIDMap `json:"uid_map"`
	GIDs GIDMap `json:"gid_map"`
}

// Operations and causes on which DescribeDenial depends; package bpf has all.
const (
	DeniedOther   = "other"
	DeniedIDs     = "id_unmapped"
	DeniedOwner   = "owner_unmapped"
	DeniedMode    = "mode"
	DeniedServer  = "file_server"
	noChange      = 4294967295 // chown(2), setresuid(2): leave it
	deniedChown   = "chown"
	deniedSetuid  = "setuid"
	deniedSetgid  = "setgid"
	deniedFork    = "fork"
	deniedUnshare = "unshare"
	deniedSetns   = "setns"
)

// DescribeDenial makes the answer about a refusal. process is who was refused, as
// the table or the history knows it; nil: only what the refusal itself tells.
func DescribeDenial(r DenialRecord, process *ProcessRecord, node Node, l Lookup) DenialAnswer {
	unknown := process == nil
	if unknown {
		process = &ProcessRecord{
			PID: r.PID, Start: r.Start, StartTime: r.StartTime, UID: r.UID, GID: r.GID, LoginUID: NoID,
			Container: r.Container, UserNS: r.UserNS, Comm: r.Comm,
		}
	}
	p := *process
	p.UID, p.GID = r.UID, r.GID // as they were then
	if !r.UserNS.IsZero() {
		p.UserNS = r.UserNS
	}
	id := Describe(p, node, l)
	a := DenialAnswer{
		Op: r.Op, Error: r.Error, Cause: r.Cause, Capability: r.Capability, Limit: r.Limit, Syscall: r.Syscall, FileSystem: r.FileSystem, Count: r.Count, First: r.First, Time: r.Time,
		Comm: r.Comm, Host: id.Host, PIDs: id.PIDs, Chain: id.Chain, TargetLevel: r.TargetLevel, Target: r.Target,
		Device: r.Device, Inode: r.Inode, State: id.State, Exit: id.Exit,
	}
	if unknown {
		a.State = "unknown"
	}
	a.UserLevel = -1
	if r.UserNSInum == node.UserNS {
		a.UserLevel = 0
	} else if ns, ok := l.UserNS(p.UserNS); ok && p.UserNS.Inum == r.UserNSInum {
		a.UserLevel, a.UIDs, a.GIDs = ns.Level, ns.UIDs, ns.GIDs
	}
	a.askedFor(r)
	return a
}

func (a *DenialAnswer) askedFor(r DenialRecord) {
	uid, gid := UID(r.IDs[0]), GID(r.IDs[1])
	switch {
	case r.Cause == DeniedOwner:
		u, g := HostUID(r.IDs[0]), HostGID(r.IDs[1])
		a.OwnerUID, a.OwnerGID = &u, &g
	case r.Cause == DeniedMode || r.Cause == DeniedServer:
		u, g := HostUID(r.IDs[0]), HostGID(r.IDs[1])
		a.OwnerUID, a.OwnerGID, a.FileMode = &u, &g, &r.IDs[2]
	case r.Op == deniedChown:
		if uid != noChange {
			a.AskedUID = &uid
		}
		if gid != noChange {
			a.AskedGID = &gid
		}
	case r.Op == deniedSetuid:
		a.AskedUID = asked(r.IDs, func(u UID) bool { _, ok := a.UIDs.ToHost(u); return ok })
	case r.Op == deniedSetgid:
		a.AskedGID = asked(r.IDs, func(g GID) bool { _, ok := a.GIDs.ToHost(g); return ok })
	case r.Op == deniedFork || r.Op == deniedUnshare || r.Op == deniedSetns:
		a.Flags = r.IDs[0]
	}
}

// asked returns which of the real, effective and saved ids that were asked for was
// refused: one that is not mapped, or else the effective one, as far as given.
func asked[T ~uint32](ids [3]uint32, mapped func(T) bool) (found *T) {
	for _, i := range []int{2, 0, 1} {
		if id := T(ids[i]); id != noChange {
			found = &id
		}
	}
	for _, n := range ids {
		if id := T(n); id != noChange && !mapped(id) {
			return &id
		}
	}
	return found
}

// About reports whether a refusal was of a container, or one inside it, by its id.
func (a DenialAnswer) About(container string) bool {
	for _, l := range a.Chain {
		if l.ID == container {
			return true
		}
	}
	return false
}
