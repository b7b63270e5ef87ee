package identity

import "time"

// Records are what outlives the table: the history keeps them as JSON, and
// every answer is made from them, whether its subject is alive or gone.

// ContainerRecord is a Container at rest.
type ContainerRecord struct {
	ID        string    `json:"id"`
	Parent    string    `json:"parent,omitempty"` // id
	Level     int       `json:"level"`
	PIDNS     NSKey     `json:"pidns"`
	PIDLevel  int       `json:"pid_level"`
	UserNS    NSKey     `json:"userns"`
	UserLevel int       `json:"user_level"`
	Name      Name      `json:"name"`
	Pod       *Pod      `json:"pod,omitempty"`
	Display   string    `json:"display"`
	Cgroup    string    `json:"cgroup,omitempty"`
	Escaped   bool      `json:"escaped,omitempty"`
	Init      HostPID   `json:"init"`
	Live      int       `json:"-"`
	Peak      int       `json:"peak"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Gone      bool      `json:"gone,omitempty"`
}

// UserNSRecord is a UserNamespace at rest. Generation facts (Sum) let the same
// namespace be recognised after a restart on kernels without ns_id.
type UserNSRecord struct {
	Key      NSKey     `json:"key"`
	Parent   NSKey     `json:"parent"`
	Level    int       `json:"level"`
	OwnerUID HostUID   `json:"owner_uid"`
	OwnerGID HostGID   `json:"owner_gid"`
	UIDs     UIDMap    `json:"uids,omitempty"`
	GIDs     GIDMap    `json:"gids,omitempty"`
	Mapped   bool      `json:"mapped"`
	Partial  bool      `json:"partial,omitempty"`
	Sum      uint64    `json:"sum"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Gone     bool      `json:"gone,omitempty"`
}

// PodRecord is a range of host ids that kubelet gave to a pod.
type PodRecord struct {
	Pod   string    `json:"pod"` // the pod's uid
	UIDs  UIDMap    `json:"uids"`
	GIDs  GIDMap    `json:"gids"`
	Boot  string    `json:"boot"`  // boot id, at the last sight
	First time.Time `json:"first"` // when kubelet wrote it down
	Last  time.Time `json:"last"`  // last seen, as far as is on record
	// Gone: kubelet took it back between Last and GoneBy.
	Gone   bool      `json:"gone,omitempty"`
	GoneBy time.Time `json:"gone_by,omitzero"`
}

// ProcessRecord is a Process at rest.
type ProcessRecord struct {
	PID       HostPID   `json:"pid"`
	Start     uint64    `json:"start"` // ns since boot
	StartTime time.Time `json:"start_time"`
	PPID      HostPID   `json:"ppid"`
	UID       HostUID   `json:"uid"`
	GID       HostGID   `json:"gid"`
	RUID      HostUID   `json:"ruid"`
	RGID      HostGID   `json:"rgid"`
	LoginUID  uint32    `json:"loginuid"`
	MntNS     uint32    `json:"mntns,omitempty"`
	Threads   uint32    `json:"threads"`
	Container string    `json:"container"`
	UserNS    NSKey     `json:"userns"` // innermost; zero: the initial one
	PIDs      []PID     `json:"pids,omitempty"`
	Cgroup    string    `json:"cgroup,omitempty"`
	Outside   bool      `json:"outside,omitempty"`
	Comm      string    `json:"comm"`
	Exe       string    `json:"exe,omitempty"`
	Argv      []string  `json:"argv,omitempty"`
	ArgvCut   bool      `json:"argv_cut,omitempty"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Exited    bool      `json:"exited,omitempty"`
	ExitTold  bool      `json:"exit_told,omitempty"` // else ExitCode and OOM say nothing
	ExitCode  uint32    `json:"exit_code,omitempty"`
	OOM       bool      `json:"oom,omitempty"`
}

// Clock turns ns since boot into wall-clock time.
type Clock struct{ Boot time.Time }

// At returns the wall-clock time of ns since boot.
func (c Clock) At(ns uint64) time.Time { return c.Boot.Add(time.Duration(ns)).UTC() }

// Record returns the container at rest.
func (c *Container) Record(clock Clock) ContainerRecord {
	r := ContainerRecord{
		ID: c.ID, Level: c.Level, PIDNS: c.PIDNS, PIDLevel: c.PIDLevel,
		UserNS: c.UserNS.Key, UserLevel: c.UserLevel, Name: c.Name.valid(), Pod: c.Pod, Display: Valid(c.DisplayName()),
		Cgroup: Valid(c.Cgroup), Escaped: c.Escaped, Init: c.Init.PID, Live: c.Live, Peak: c.Peak,
		First: clock.At(c.First), Last: clock.At(c.Last), Gone: c.gone,
	}
	if c.Parent != nil {
		r.Parent = c.Parent.ID
	}
	return r
}

func (n Name) valid() Name {
	return Name{
		Runtime: Valid(n.Runtime), ID: Valid(n.ID), Name: Valid(n.Name),
		Image: Valid(n.Image), PodUID: Valid(n.PodUID), Source: n.Source,
	}
}

// Record returns the user namespace at rest.
func (u *UserNamespace) Record(clock Clock) UserNSRecord {
	r := UserNSRecord{
		Key: u.Key, Level: u.Level, OwnerUID: u.OwnerUID, OwnerGID: u.OwnerGID, UIDs: u.UIDs, GIDs: u.GIDs,
		Mapped: u.Mapped, Partial: u.Partial, Sum: u.sum,
		First: clock.At(u.First), Last: clock.At(u.Last), Gone: u.gone,
	}
	if u.Parent != nil {
		r.Parent = u.Parent.Key
	}
	return r
}

// Record returns the process at rest.
func (p *Process) Record(clock Clock) ProcessRecord {
	r := ProcessRecord{
		PID: p.Key.PID, Start: p.Key.Start, StartTime: clock.At(p.Key.Start), PPID: p.PPID,
		UID: p.UID, GID: p.GID, RUID: p.RUID, RGID: p.RGID, LoginUID: p.LoginUID, MntNS: p.MntNS,
		Threads: p.Threads, Container: p.Container.ID, PIDs: append([]PID(nil), p.PIDs...), Outside: p.Outside,
		Comm: Valid(p.Comm), Exe: Valid(p.Exe), ArgvCut: p.ArgvCut,
		First: clock.At(p.First), Last: clock.At(p.Last), Exited: p.Exited, ExitTold: p.ExitTold, ExitCode: p.ExitCode, OOM: p.OOM,
	}
	if ns := p.Home.innermost(); ns != nil {
		r.UserNS = ns.Key
	}
	if p.Cgroup != nil {
		r.Cgroup = Valid(p.Cgroup.Path)
	}
	if len(p.Argv) > 0 {
		r.Argv = make([]string, len(p.Argv))
		for i, a := range p.Argv {
			r.Argv[i] = Valid(a)
		}
	}
	return r
}
