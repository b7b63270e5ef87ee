package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/explain"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

// pathAnswer is what explain path says.
type pathAnswer struct {
	Path string `json:"path"`
	In   string `json:"in,omitempty"` // short id of a container
	explain.File
	Levels []explain.Seen   `json:"levels"`
	Nobody []explain.Nobody `json:"nobody"`
}

func (x *explainer) path(ctx context.Context, path string) error {
	if x.noChecks {
		return usageError{errors.New("explain path: --no-checks goes with an error text")}
	}
	if path == "" || strings.ContainsRune(path, 0) {
		return usageError{fmt.Errorf("explain path: want a FILE, got %q", path)}
	}
	a := pathAnswer{Path: path}
	proc := daemon.DefaultConfig().ProcRoot
	var levels []explain.Level
	var err error
	if x.in == "" {
		if a.File, err = explain.LookNode(ctx, proc, path); err != nil {
			return err
		}
		levels, err = explain.Levels([]identity.Link{{Kind: "node", Name: "node"}}, nil)
	} else {
		err = x.ask(ctx, func(ctx context.Context, q api.Querier) (err error) {
			a.In, a.File, levels, err = lookInside(ctx, q, proc, x.in, path)
			return err
		})
	}
	if err != nil {
		return err
	}
	a.Levels, a.Nobody = explain.See(a.File, levels, explain.Overflow(proc))
	if x.output == "json" {
		return writeJSON(x.env.Stdout, a)
	}
	printPath(x.env.Stdout, a, x.output == "wide")
	return nil
}

func lookInside(ctx context.Context, q api.Querier, proc, in, path string) (id string, f explain.File, levels []explain.Level, err error) {
	c, pid, err := findContainer(ctx, q, in)
	if err != nil {
		return "", f, nil, err
	}
	if f, err = explain.LookInside(ctx, proc, int(pid), path); err != nil {
		return "", f, nil, fmt.Errorf("container %s: %w", c.ID, err)
	}
	all, err := q.Map(ctx, "")
	if err != nil {
		return "", f, nil, err
	}
	// Only now: was the process whose root was used that of the container?
	who, err := confirm(ctx, q, c, pid)
	if err != nil {
		return "", f, nil, err
	}
	levels, err = explain.Levels(who.Chain, all)
	return c.ID, f, levels, err
}

func printPath(w io.Writer, a pathAnswer, wide bool) {
	fmt.Fprintf(w, "%s: %s, mode %s\n", Escape(clip(a.Path, 512)), a.Kind, a.Mode)
	field := func(name, format string, v ...any) { fmt.Fprintf(w, "  %-8s %s\n", name, fmt.Sprintf(format, v...)) }
	if a.Kind == "symbolic link" {
		field("link", "this is the link itself: ask for the file that it leads to by that file's path")
	}
	m := a.Mount
	switch {
	case m.Point == "":
		field("mount", "unknown: %s", Escape(m.Note))
	case !m.Idmapped:
		field("mount", "%s, %s (%s), not idmapped", Escape(clip(m.Point, 256)), Escape(m.FSType), m.Device)
	case m.Note != "":
		field("mount", "%s, %s (%s), idmapped; its map: %s", Escape(clip(m.Point, 256)), Escape(m.FSType), m.Device, Escape(m.Note))
	default:
		field("mount", "%s, %s (%s), idmapped: uids %s, gids %s", Escape(clip(m.Point, 256)), Escape(m.FSType), m.Device, diskMap(m.UIDMap, wide), diskMap(m.GIDMap, wide))
	}
	field("on disk", "uid %s, gid %s", diskID(a.Disk.UID), diskID(a.Disk.GID))
	if m.FSType == "overlay" {
		field("", "as the overlay has it: an idmapped layer may have other ids on its disk")
	}
	fmt.Fprintln(w)
	header := []string{"LEVEL", "WHERE", "UID", "GID"}
	if wide {
		header = append(header, "USERNS")
	}
	t := newTable(w, header...)
	for _, l := range a.Levels {
		row := []any{l.Level, Escape(clip(l.Where, 128)), idText(l.UID), idText(l.GID)}
		if wide {
			row = append(row, l.UserNS)
		}
		t.AppendRow(row)
	}
	t.Render()
	for _, n := range a.Nobody {
		fmt.Fprintf(w, "\n%s: %s\n", n.Kind, Escape(n.Why))
		for i, line := range strings.Split(n.Fix, "\n") {
			name := "fix"
			if i > 0 {
				name = "or"
			}
			if line != "" {
				fmt.Fprintf(w, "  %-4s %s\n", name, Escape(line))
			}
		}
	}
	if a.In == "" && a.Host.UID != nil && *a.Host.UID != 0 {
		fmt.Fprintf(w, "\nwhose it is: eyas whois uid %d; as a container sees it: --in CHAIN\n", *a.Host.UID)
	}
}

func diskID(id *uint32) string {
	if id == nil {
		return "unknown"
	}
	return idText(id)
}

// diskMap shows the map of a mount: ids on disk, and on the host.
func diskMap(extents []identity.Extent, wide bool) string {
	most := 4
	if wide {
		most = 2 * 340 // the kernel's bound on extents
	}
	return extentsText(extents, identity.NSAnswer{Mapped: true}, most)
}
