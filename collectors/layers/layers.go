// Package layers finds the overlays that containers live on, and what their
// upper directories hold.
//
// What enters: containers, by their first process, and who may have mounted for
// them. What leaves: one Overlay for each container's root, and for each other
// overlay that it sees. It reads /proc and directories, and changes nothing.
//
// The kernel tells an upper directory by the path that was mounted, which means
// nothing without the mount namespace of whoever did it, and a tenant chooses it. So the
// path is looked up, below one root after another, and what is found there is taken for
// the upper directory only if it is the same directory that the overlay shows: see isUpper.
// Nothing is told of one that is not found.
package layers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/eyas-agent/eyas/collectors/disk"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// Container is one to look at.
type Container struct {
	ID   string
	Init identity.ProcessKey
	// Mounters are processes below whose roots the paths of its layers may lead
	// to them, the likeliest first; the node's comes after them. They may be anybody.
	Mounters []identity.HostPID
}

// Kinds of roots.
const (
	KindOverlay   = "overlay"
	KindFuse      = "fuse-overlayfs" // its layers are known to its daemon alone
	KindDirectory = "directory"      // of another file system, as vfs storage makes
	KindOther     = "other"          // a whole file system
)

// Overlay is what a container lives on, or another overlay that it sees.
type Overlay struct {
	Container string `json:"container"` // short id
	Point     string `json:"mount"`     // as the container sees it; hostile, as all paths are
	Kind      string `json:"kind"`
	Device    string `json:"device"` // major:minor: the same for all who share it
	// Shared is the container that lives on the same overlay, further out or
	// earlier: its numbers are these.
	Shared string `json:"shared_with,omitempty"`
	Depth  *int   `json:"depth"`  // 2: a lower layer is an overlay; nil: not known
	Layers int    `json:"lowers"` // lower layers
	// FSType is the file system of the upper directory; of a root that is no
	// overlay, the root's.
	FSType    string      `json:"fs_type,omitempty"`
	Upper     string      `json:"upper,omitempty"` // the directory, as the node sees it
	Available *uint64     `json:"available_bytes"` // of the upper's file system
	Size      *uint64     `json:"size_bytes"`
	Usage     *disk.Usage `json:"usage"` // nil: not known, and Note says why
	Note      string      `json:"note,omitempty"`
}

// found is an Overlay, and where it is.
type found struct {
	Overlay
	mount evidence.Mount
	in    Container
}

const (
	maxMounts   = 64               // overlays shown of a container, beside its root
	mountsLimit = 5 * time.Second  // to read a container's mounts
	walkLimit   = 30 * time.Second // for one upper directory
	grace       = 2 * time.Second  // in which a walk ends by itself
	lookLimit   = 2 * time.Minute  // for all of them
	maxStuck    = 4                // looks that never came back; beyond that there are no more
)

// Look looks at containers, of which the outer ones come first, and names up to
// files copied-up files of each overlay. One Look runs at a time; others wait.
// What cannot be told of one overlay is in its Note; an error is ctx's.
func (l *Looker) Look(ctx context.Context, proc string, all []Container, files int) ([]Overlay, error) {
	release, err := l.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	var jobs []found
	for _, c := range all {
		mounts, err := bounded(ctx, l, mountsLimit, func(context.Context) ([]found, error) { return mountsOf(proc, c) })
		if errors.Is(err, errGone) {
			continue // it ended meanwhile
		}
		if err != nil {
			mounts = []found{{Overlay: Overlay{Container: c.ID, Point: "/", Kind: KindOther, Note: err.Error()}}}
		}
		jobs = append(jobs, mounts...)
	}
	jobs = once(jobs)
	out := make([]Overlay, len(jobs))
	for i, j := range jobs {
		out[i] = j.Overlay
		if j.Kind != KindOverlay || j.Note != "" || j.Shared != "" {
			continue
		}
		x, err := bounded(ctx, l, walkLimit, func(ctx context.Context) (x Overlay, err error) {
			err = niceWhile(func() error { x, err = j.examine(ctx, proc, files); return err })
			return x, err
		})
		if err != nil {
			x = j.Overlay
			x.Note = err.Error()
		}
		out[i] = x
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err() // running out of time is an answer, too
	}
	share(out)
	return out, nil
}

// mountsOf finds the root of a container and the overlays that it sees.
func mountsOf(proc string, c Container) ([]found, error) {
	text, err := evidence.ReadMountinfo(proc, int(c.Init.PID))
	if !evidence.SameProcess(proc, int(c.Init.PID), c.Init.Start) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	root := found{Overlay: Overlay{Container: c.ID, Point: "/", Kind: KindDirectory, Note: "its root is no mount of its own"}}
	others, more := []found{}, 0
	for _, m := range evidence.Mounts(strings.NewReader(text)) {
		o := found{mount: m, in: c, Overlay: Overlay{
			Container: c.ID, Point: m.Point, Kind: kindOf(m), Device: m.Device, FSType: m.FSType, Layers: len(m.Lowers),
		}}
		if o.Kind == KindOverlay {
			o.FSType = "" // until its upper directory is found
		}
		switch {
		case m.Point == "/":
			root = o
		case o.Kind != KindOverlay:
		case len(others) == maxMounts:
			more++
		default:
			others = append(others, o)
		}
	}
	switch root.Kind {
	case KindFuse:
		root.Note = "only its daemon knows where its upper directory is"
	case KindDirectory:
		if root.Note == "" {
			root.Note = "it lives in " + root.mount.Root + " of a file system: there is no upper directory"
		}
	case KindOther:
		root.Note = "it lives on a whole file system: there is no upper directory"
	}
	if more > 0 {
		others[len(others)-1].Note = fmt.Sprintf("not looked at, nor are %d more overlays", more)
	}
	return append([]found{root}, others...), nil
}

func kindOf(m evidence.Mount) string {
	switch {
	case m.Root != "/":
		return KindDirectory
	case m.FSType == "overlay":
		return KindOverlay
	case m.FSType == "fuse.fuse-overlayfs":
		return KindFuse
	}
	return KindOther
}

// once leaves one of each overlay that is nobody's root, that of the outermost
// container that sees it.
func once(all []found) []found {
	owner := map[string]string{}
	for _, o := range all {
		if o.Kind == KindOverlay && o.Point == "/" && owner[o.Device] == "" {
			owner[o.Device] = o.Container
		}
	}
	out := all[:0]
	for _, o := range all {
		switch first := owner[o.Device]; {
		case o.Kind != KindOverlay:
		case o.Point != "/" && first != "":
			continue
		case o.Point != "/":
			owner[o.Device] = o.Container
		case first != o.Container:
			o.Shared = first
		}
		out = append(out, o)
	}
	return out
}

// share gives those who share an overlay its numbers.
func share(all []Overlay) {
	first := map[string]Overlay{}
	for i, o := range all {
		if o.Kind != KindOverlay {
			continue
		}
		from, ok := first[o.Device]
		if !ok || o.Shared == "" {
			first[o.Device] = o
			continue
		}
		from.Container, from.Point, from.Shared = o.Container, o.Point, o.Shared
		all[i] = from
	}
}
