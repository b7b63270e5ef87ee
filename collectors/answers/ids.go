package answers

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// IDQuery asks whose a uid or gid is.
type IDQuery struct {
	GID bool
	ID  uint32
	In  string    // a container: ID is an id inside it
	At  time.Time // zero: now
}

// ID answers whose a uid or gid is, or was at a time.
func (a *Answers) ID(ctx context.Context, q IDQuery) (identity.IDAnswer, error) {
	if err := a.Tracker.Sync(ctx); err != nil {
		return identity.IDAnswer{}, err
	}
	out := identity.IDAnswer{Kind: "uid", ID: &q.ID, Owners: []identity.IDOwner{}}
	if q.GID {
		out.Kind = "gid"
	}
	if !q.At.IsZero() {
		out.At = &q.At
	}
	candidates, err := a.candidates(q)
	if err != nil {
		return out, err
	}
	host := q.ID
	if q.In != "" {
		c, err := a.Select(q.In)
		if err != nil {
			return out, err
		}
		inner := q.ID
		out.In, out.Inner = c.ID, &inner
		ok := false
		a.Tracker.View(func(t *identity.Table, _ map[string]int) {
			host, ok = identity.ToHost(c, q.ID, q.GID, lookup{a, t})
		})
		if !ok {
			out.ID, out.Unmapped = nil, true
			out.Note = fmt.Sprintf("%s %d is not mapped in container %s: it has no such id, and files of it show as 65534 there", out.Kind, q.ID, c.ID)
			return out, nil
		}
		out.ID = &host
		candidates = identity.Below(candidates, c.ID)
	}
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		l := lookup{a, t}
		for _, c := range candidates {
			if q.In != "" && c.ID == out.In || identity.Owns(c, host, q.GID, l) {
				o := identity.DescribeID(c, host, q.GID, a.node(t), l)
				o.Processes, o.More = processesOf(t, c.ID, host, q.GID)
				out.Owners = append(out.Owners, o)
			}
		}
	})
	if q.In == "" {
		if err := a.pods(q, &out); err != nil {
			return out, err
		}
	}
	if len(out.Owners) == 0 {
		out.Note = fmt.Sprintf("no container's user namespace maps host %s %d", out.Kind, host)
		if len(out.Pods) == 0 {
			out.Note += ": it is the node's own"
		}
	}
	return out, nil
}

// pods adds those that kubelet gave the id to: at the time asked about, or ever.
func (a *Answers) pods(q IDQuery, out *identity.IDAnswer) error {
	if a.Kubelet == nil {
		return nil
	}
	all, err := a.Kubelet.Pods()
	for _, r := range all {
		if !q.At.IsZero() && (r.First.After(q.At) || r.Gone && r.GoneBy.Before(q.At)) {
			continue
		}
		p, has := identity.DescribePod(r, q.ID, q.GID)
		if !has {
			continue
		}
		if a.Names != nil {
			if named, ok := a.Names.Pod(r.Pod, ""); ok {
				p.Namespace, p.Pod = named.Namespace, named.Name
			}
		}
		switch {
		case len(out.Pods) < identity.MaxPods:
			out.Pods = append(out.Pods, p)
		default:
			out.MorePods++
		}
	}
	return err
}

// candidates are the containers that lived at the time asked about; without a
// time the living, or else all that are remembered.
func (a *Answers) candidates(q IDQuery) ([]identity.ContainerRecord, error) {
	live := a.liveContainers()
	from, to := time.Time{}, time.Now()
	if !q.At.IsZero() {
		from, to = q.At, q.At
	}
	var all []identity.ContainerRecord
	known := map[string]bool{}
	for _, c := range live {
		known[c.ID] = true
		if !c.First.After(to) {
			all = append(all, c)
		}
	}
	if a.History != nil {
		past, err := a.History.Containers(from, to)
		if err != nil {
			return nil, err
		}
		for _, c := range past {
			if !known[c.ID] {
				c.Gone = true
				all = append(all, c)
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool {
		x, y := all[i], all[j]
		switch {
		case x.Gone != y.Gone:
			return y.Gone
		case x.Level != y.Level:
			return x.Level < y.Level
		}
		return x.Last.After(y.Last)
	})
	return all, nil
}

// processesOf lists the live processes right in a container with a host id.
func processesOf(t *identity.Table, container string, id uint32, gid bool) (pids []identity.HostPID, more int) {
	for _, p := range t.Processes() {
		if p.Container.ID != container || (gid && uint32(p.GID) != id) || (!gid && uint32(p.UID) != id) {
			continue
		}
		if len(pids) < identity.MaxPIDs {
			pids = append(pids, p.Key.PID)
		} else {
			more++
		}
	}
	return pids, more
}
