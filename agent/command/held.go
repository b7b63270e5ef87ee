package command

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/hostfs"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// idAnswer is who has a host id, and to whom it was given.
type idAnswer struct {
	identity.IDAnswer
	Held []holder `json:"held,omitempty"`
}

// holder is who was given a range that has an id, in use or not.
type holder struct {
	Source string     `json:"source"` // a lease or a file
	Range  string     `json:"range"`  // start:count
	State  string     `json:"state,omitempty"`
	From   *time.Time `json:"from,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
}

// held looks for an id in the leases, also in those that are released, and in
// what files say now; the leases name the answer's pods. What cannot be read is
// left out, and said.
func (k *client) held(c *cobra.Command, id uint32, a *idAnswer) (notes []string) {
	leases, err := readLeases(c, k)
	if err != nil {
		notes = append(notes, "leases are left out: "+err.Error())
	}
	for _, l := range leases.Leases {
		for i := range a.Pods {
			if p := &a.Pods[i]; p.Pod == "" && p.PodUID == l.Owner.PodUID {
				p.Namespace, p.Pod = l.Owner.Namespace, l.Owner.Pod
			}
		}
		r := subid.Range(l.Range)
		if !r.Has(id) || a.At != nil && (l.Created.After(*a.At) || !l.Live() && l.Released.Before(*a.At)) {
			continue
		}
		h := holder{Source: strings.TrimSpace("lease " + l.ID + " " + ownerText(l.Owner)), Range: r.String(), State: string(l.State), From: &l.Created}
		if l.State == ledger.Tombstone {
			h.Until = &l.Released
		}
		a.Held = append(a.Held, h)
	}
	if a.At != nil {
		return notes // files tell of now only
	}
	root := k.env.Root
	if root == "" { // in the agent's pod the files are not the image's; of an error Snapshot tells
		root, _ = daemon.HostRoot("/proc")
	}
	snapshot, err := sources.Host{Node: hostfs.Root{Path: root}, Etc: "/etc", Proc: filepath.Join("/", k.env.Root, "proc")}.Snapshot()
	if err != nil {
		notes = append(notes, "some files are left out: "+err.Error())
	}
	for _, claim := range snapshot.Claims {
		// Live namespaces are the answer's owners already, and systemd's plan says
		// of every id what it is meant for.
		if claim.Range.Has(id) && !strings.Contains(claim.Source, "live user namespace") && !strings.HasPrefix(claim.Source, "systemd: ") {
			a.Held = append(a.Held, holder{Source: claim.Source, Range: claim.Range.String()})
		}
	}
	return notes
}

// podText says what kubelet's record said of a pod.
func podText(p identity.IDPod, kind string) string {
	name := p.PodUID
	if p.Pod != "" {
		name += " (" + p.Namespace + "/" + p.Pod + ")"
	}
	s := fmt.Sprintf("pod %s: kubelet's record %s, %s %d inside, from %s", name, p.Range, kind, p.Inner, p.From.Format(time.RFC3339))
	last, by := p.LastSeen.Format(time.RFC3339), p.GoneBy.Format(time.RFC3339)
	switch {
	case p.State != "gone":
		return s
	case last == by:
		return s + ", gone since " + by
	}
	return s + ", gone between " + last + " and " + by
}

func (h holder) text() string {
	s := h.Range
	if h.State != "" {
		s += ", " + h.State
	}
	if h.From != nil {
		s += ", from " + h.From.Format(time.RFC3339)
	}
	if h.Until != nil {
		s += " to " + h.Until.Format(time.RFC3339)
	}
	return s
}
