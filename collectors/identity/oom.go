package identity

import "time"

// OOMScope says whose limit an OOM kill was at.
type OOMScope string

// The limit of a container's own cgroup; of a cgroup that a container made
// below it; of the pod around the outermost container; of another cgroup
// outside of all containers; of a v1 hierarchy, which eyas does not know; none:
// the machine's memory was used up; or not known.
const (
	OOMContainer OOMScope = "container"
	OOMInside    OOMScope = "inside"
	OOMPod       OOMScope = "pod"
	OOMCgroup    OOMScope = "cgroup"
	OOMV1        OOMScope = "v1"
	OOMNode      OOMScope = "node"
	OOMUnknown   OOMScope = "unknown"
)

// OOMSource says how it is known.
type OOMSource string

// The kernel told; or it follows from the counts and limits of the cgroups
// around the victim, as they were at the kill.
const (
	OOMTold     OOMSource = "told"
	OOMInferred OOMSource = "inferred"
)

// OOMLimit is the limit that an OOM kill was at.
type OOMLimit struct {
	Scope     OOMScope  `json:"scope"`
	Source    OOMSource `json:"source,omitempty"`
	Cgroup    string    `json:"cgroup,omitempty"`    // path; "" when not known
	Container string    `json:"container,omitempty"` // id, for the scopes container and inside
	Usage     *uint64   `json:"usage_bytes"`         // at the kill
	Max       *uint64   `json:"max_bytes"`           // null: none, or not known
}

// OOMVictim is a process that the OOM killer has killed.
type OOMVictim struct {
	PID       HostPID   `json:"pid"`
	Start     uint64    `json:"start"` // ns since boot
	StartTime time.Time `json:"start_time"`
	Time      time.Time `json:"time"`
	UID       HostUID   `json:"uid"`
	GID       HostGID   `json:"gid"`
	UserNS    NSKey     `json:"userns,omitzero"`
	Comm      string    `json:"comm"`
	Container string    `json:"container,omitempty"` // id; "": a process of the host
	PIDs      []PID     `json:"pids,omitempty"`      // by pid level, from 1 inwards
	Cgroup    string    `json:"cgroup,omitempty"`
	Memory    OOMMemory `json:"memory"`
	ScoreAdj  int       `json:"oom_score_adj"`
}

// OOMMemory is what a victim used, in bytes.
type OOMMemory struct {
	Anon  uint64 `json:"anon"`
	File  uint64 `json:"file"`
	Shmem uint64 `json:"shmem"`
	Swap  uint64 `json:"swap"`
}

// RSS is what of it was in memory.
func (m OOMMemory) RSS() uint64 { return m.Anon + m.File + m.Shmem }

// MaxOOMVictims bounds the victims that are remembered of one kill.
const MaxOOMVictims = 16

// OOMRecord is one OOM kill at rest: the process that was chosen, first, and
// those that were killed with it.
type OOMRecord struct {
	Time    time.Time   `json:"time"`
	By      HostPID     `json:"by,omitempty"` // who wanted the memory
	Limit   OOMLimit    `json:"limit"`
	Group   string      `json:"group,omitempty"` // path of the cgroup whose memory.oom.group killed the others
	Victims []OOMVictim `json:"victims"`
	More    int         `json:"more_victims,omitempty"` // beyond MaxOOMVictims
}

// OOMAnswer answers "who was killed, and why?".
type OOMAnswer struct {
	Time    time.Time         `json:"time"`
	By      HostPID           `json:"by,omitempty"`
	Limit   OOMLimitAnswer    `json:"limit"`
	Group   string            `json:"group,omitempty"`
	Victims []OOMVictimAnswer `json:"victims"`
	More    int               `json:"more_victims,omitempty"`
}

// OOMLimitAnswer is a limit with the chain of the container that it is of.
type OOMLimitAnswer struct {
	OOMLimit
	Chain []OOMLink `json:"chain"`
}

// OOMLink is a container of a limit's chain. No process, hence no ids.
type OOMLink struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Runtime string `json:"runtime"`
	Pod     *Pod   `json:"pod,omitempty"` // of an outermost container
	Level   int    `json:"level"`
}

// OOMVictimAnswer is a victim with its chain.
type OOMVictimAnswer struct {
	Comm     string    `json:"comm"`
	Time     time.Time `json:"time"`
	Host     Host      `json:"host"`
	PIDs     []PID     `json:"pids"` // at every pid level, the host's first
	Cgroup   string    `json:"cgroup"`
	RSS      uint64    `json:"rss_bytes"`
	Memory   OOMMemory `json:"memory_bytes"`
	ScoreAdj int       `json:"oom_score_adj"`
	Chain    []Link    `json:"chain"`
}

// DescribeOOM makes the answer about an OOM kill.
func DescribeOOM(r OOMRecord, node Node, l Lookup) OOMAnswer {
	a := OOMAnswer{
		Time: r.Time, By: r.By, Group: r.Group, More: r.More, Victims: []OOMVictimAnswer{},
		Limit: OOMLimitAnswer{OOMLimit: r.Limit, Chain: []OOMLink{}},
	}
	for _, c := range ChainOf(r.Limit.Container, l) {
		a.Limit.Chain = append(a.Limit.Chain, OOMLink{ID: c.ID, Name: c.Display, Runtime: c.Name.Runtime, Pod: c.Pod, Level: c.Level})
	}
	for _, v := range r.Victims {
		id := Describe(ProcessRecord{
			PID: v.PID, Start: v.Start, StartTime: v.StartTime, UID: v.UID, GID: v.GID, LoginUID: NoID,
			Container: v.Container, UserNS: v.UserNS, PIDs: v.PIDs, Comm: v.Comm, Cgroup: v.Cgroup,
		}, node, l)
		a.Victims = append(a.Victims, OOMVictimAnswer{
			Comm: v.Comm, Time: v.Time, Host: id.Host, PIDs: id.PIDs, Cgroup: v.Cgroup,
			RSS: v.Memory.RSS(), Memory: v.Memory, ScoreAdj: v.ScoreAdj, Chain: id.Chain,
		})
	}
	return a
}

// About reports whether a kill is about a container, by its id: a victim was in
// it or in one inside it, or the limit is its own or one's inside it.
func (a OOMAnswer) About(container string) bool {
	for _, l := range a.Limit.Chain {
		if l.ID == container {
			return true
		}
	}
	for _, v := range a.Victims {
		for _, l := range v.Chain {
			if l.ID == container {
				return true
			}
		}
	}
	return false
}
