package answers

import (
	"context"
	"fmt"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/layers"
)

// Disk is what a container lives on, or another overlay that it sees. Paths are
// valid UTF-8, and otherwise raw.
type Disk struct {
	Chain []identity.Link `json:"chain"` // from the outermost container inwards
	layers.Overlay
}

// maxFiles bounds the copied-up files named of an overlay.
const maxFiles = 1000

// maxMounters bounds the mount namespaces of a container through which layers
// are looked for.
const maxMounters = 8

// Disks answers what upper directories hold, for the live containers, the outermost
// first; with a chain, for that container and those inside it. Of each overlay up
// to files copied-up files are named, the largest first. It goes through
// directories of sandboxes, which can take up to two minutes.
func (a *Answers) Disks(ctx context.Context, chain string, files int) ([]Disk, error) {
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
	var jobs []layers.Container
	chains := map[string][]identity.Link{}
	a.Tracker.View(func(t *identity.Table, _ map[string]int) {
		members := membersOf(t)
		for _, c := range t.Containers() {
			if only != "" && !within(c, only) || len(members[c]) == 0 {
				continue
			}
			jobs = append(jobs, layers.Container{ID: c.ID, Init: members[c][0].Key, Mounters: mounters(t, c, members)})
			for _, r := range identity.ChainOf(c.ID, lookup{a, t}) {
				chains[c.ID] = append(chains[c.ID], identity.TreeLink(r))
			}
		}
	})
	found, err := a.looker.Look(ctx, a.Proc, jobs, min(max(files, 0), maxFiles))
	if err != nil {
		return nil, fmt.Errorf("look at overlays: %w", err)
	}
	out := make([]Disk, len(found))
	for i, o := range found {
		o.Point, o.Upper, o.FSType, o.Note = identity.Valid(o.Point), identity.Valid(o.Upper), identity.Valid(o.FSType), identity.Valid(o.Note)
		if o.Usage != nil && o.Shared == "" { // those who share it have the same files
			for k := range o.Usage.CopiedUp.Largest {
				f := &o.Usage.CopiedUp.Largest[k]
				f.Path = identity.Valid(f.Path)
			}
		}
		out[i] = Disk{Chain: chains[o.Container], Overlay: o}
	}
	return out, nil
}

// membersOf returns some processes of each container, one of each mount namespace,
// its first process first.
func membersOf(t *identity.Table) map[*identity.Container][]*identity.Process {
	all := map[*identity.Container][]*identity.Process{}
	add := func(p *identity.Process) {
		for _, known := range all[p.Container] {
			if known.MntNS == p.MntNS {
				return
			}
		}
		if len(all[p.Container]) < maxMounters {
			all[p.Container] = append(all[p.Container], p)
		}
	}
	for _, c := range t.Containers() {
		if p := t.Process(c.Init.PID); p != nil && p.Key == c.Init && p.Container == c && !p.Zombie {
			add(p)
		}
	}
	for _, p := range t.Processes() {
		if p.Container != nil && !p.Zombie {
			add(p)
		}
	}
	return all
}

// mounters are those who may have mounted what a container lives on: itself, whoever
// started it, and the containers around it. layers asks the node itself last.
func mounters(t *identity.Table, c *identity.Container, members map[*identity.Container][]*identity.Process) []identity.HostPID {
	var pids []identity.HostPID
	for ; c != nil; c = c.Parent {
		for _, p := range members[c] {
			pids = append(pids, p.Key.PID)
		}
		if p := t.Process(c.Init.PID); p != nil && p.PPID > 1 {
			pids = append(pids, p.PPID)
		}
	}
	return pids
}
