package identity

import (
	"fmt"
	"time"
)

// IDAnswer answers "whose uid (gid) is this?". One host id can be known at
// several levels, and to several containers whose maps overlap.
type IDAnswer struct {
	Kind   string     `json:"kind"`         // uid, gid
	ID     *uint32    `json:"id"`           // host id; null: the inner id is unmapped
	In     string     `json:"in,omitempty"` // short id of the container asked in
	Inner  *uint32    `json:"inner,omitempty"`
	At     *time.Time `json:"at,omitempty"`
	Owners []IDOwner  `json:"owners"`
	// Pods that kubelet gave a range with the id to, the latest first.
	Pods     []IDPod `json:"pods,omitempty"`
	MorePods int     `json:"more_pods,omitempty"`
	// Unmapped: the container asked in does not have the id at all.
	Unmapped bool   `json:"unmapped,omitempty"`
	Note     string `json:"note,omitempty"`
}

// IDOwner is one container whose map reaches the id.
type IDOwner struct {
	State     string    `json:"state"` // live, gone
	Chain     []Link    `json:"chain"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Processes []HostPID `json:"processes,omitempty"` // live, with this id; at most MaxPIDs
	More      int       `json:"more_processes,omitempty"`
}

// IDPod is a pod that has, or had, the id by kubelet's record.
type IDPod struct {
	PodUID    string    `json:"pod_uid"`
	Namespace string    `json:"namespace,omitempty"` // and Pod: if Kubernetes or a lease says so
	Pod       string    `json:"pod,omitempty"`
	State     string    `json:"state"` // live, gone
	Range     string    `json:"range"` // start:count of host ids
	Inner     uint32    `json:"inner"` // the id in the pod
	Boot      string    `json:"boot"`
	From      time.Time `json:"from"`
	LastSeen  time.Time `json:"last_seen"`
	GoneBy    time.Time `json:"gone_by,omitzero"` // it went between LastSeen and this
}

// MaxPods bounds the pods of one answer.
const MaxPods = 20

// DescribePod returns what a record says of a host id; false: nothing.
func DescribePod(r PodRecord, id uint32, gid bool) (IDPod, bool) {
	p := IDPod{PodUID: Valid(r.Pod), State: "live", Boot: Valid(r.Boot), From: r.First, LastSeen: r.Last}
	if r.Gone {
		p.State, p.GoneBy = "gone", r.GoneBy
	}
	extents := []Extent(r.UIDs)
	if gid {
		extents = r.GIDs
	}
	for _, e := range extents {
		if off := id - e.Host; id >= e.Host && off < e.Count {
			p.Range, p.Inner = fmt.Sprintf("%d:%d", e.Host, e.Count), e.First+off
			return p, true
		}
	}
	return p, false
}

// MaxPIDs bounds the processes listed for one owner.
const MaxPIDs = 20

// DescribeID makes the chain of an owner with the host id translated at every
// step. gid tells which kind it is.
func DescribeID(c ContainerRecord, id uint32, gid bool, node Node, l Lookup) IDOwner {
	o := IDOwner{State: "live", FirstSeen: c.First, LastSeen: c.Last}
	if c.Gone {
		o.State = "gone"
	}
	set := func(k *Link, u *UID, g *GID) {
		if gid {
			k.GID, k.Unmapped = g, g == nil
		} else {
			k.UID, k.Unmapped = u, u == nil
		}
	}
	uid, g := UID(id), GID(id)
	first := Link{Kind: "node", ID: node.ID, Name: node.Name, Runtime: "host", PIDNS: node.PIDNS, UserNS: node.UserNS}
	set(&first, &uid, &g)
	o.Chain = append(o.Chain, first)
	for _, x := range ChainOf(c.ID, l) {
		link := containerLink(x)
		var u *UID
		var g *GID
		if ns, ok := userNSRecord(x.UserNS, x.UserLevel, l); ok {
			if v, ok := ns.UIDs.FromHost(HostUID(id)); ok {
				u = &v
			}
			if v, ok := ns.GIDs.FromHost(HostGID(id)); ok {
				g = &v
			}
		}
		set(&link, u, g)
		o.Chain = append(o.Chain, link)
	}
	return o
}

// Owns reports whether a container's own user namespace maps a host id. The
// initial user namespace owns nothing: it has every id.
func Owns(c ContainerRecord, id uint32, gid bool, l Lookup) bool {
	if c.UserLevel == 0 {
		return false
	}
	ns, ok := l.UserNS(c.UserNS)
	if !ok {
		return false
	}
	if gid {
		_, ok = ns.GIDs.FromHost(HostGID(id))
	} else {
		_, ok = ns.UIDs.FromHost(HostUID(id))
	}
	return ok
}

// ToHost translates a container's inner id to the host's.
func ToHost(c ContainerRecord, id uint32, gid bool, l Lookup) (uint32, bool) {
	ns, ok := userNSRecord(c.UserNS, c.UserLevel, l)
	if !ok {
		return 0, false
	}
	if gid {
		h, ok := ns.GIDs.ToHost(GID(id))
		return uint32(h), ok
	}
	h, ok := ns.UIDs.ToHost(UID(id))
	return uint32(h), ok
}
