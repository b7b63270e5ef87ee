package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newMap(env Env) *cobra.Command {
	k := &client{env: env}
	c := &cobra.Command{
		Use: "map [CHAIN]", Short: "Show user namespaces: maps, what they come to on the host, overlaps",
		Args: args(cobra.MaximumNArgs(1)), ValidArgsFunction: k.complete,
		RunE: func(c *cobra.Command, a []string) error {
			return k.ask(c.Context(), func(ctx context.Context, q api.Querier) error {
				all, err := q.Map(ctx, strings.Join(a, ""))
				if err != nil {
					return err
				}
				if k.output == "json" {
					return writeJSON(env.Stdout, all)
				}
				most := 4
				if k.output == "wide" {
					most = 2 * 340 // the kernel's bound on extents
				}
				t := newTable(env.Stdout, "USERNS", "PARENT", "LEVEL", "OWNER", "CONTAINERS", "PROCS", "KIND", "MAP IN PARENT", "MAP ON HOST", "OVERLAPS")
				for _, n := range all {
					where := listText(n.Containers)
					t.AppendRow([]any{n.UserNS, n.Parent, n.Level, n.OwnerUID, where, n.Processes, "uid",
						extentsText(n.UIDMap, n, most), extentsText(n.HostUIDMap, n, most), overlapsText(n, "uid", most)})
					t.AppendRow([]any{"", "", "", n.OwnerGID, "", "", "gid",
						extentsText(n.GIDMap, n, most), extentsText(n.HostGIDMap, n, most), overlapsText(n, "gid", most)})
				}
				t.Render()
				return nil
			})
		},
	}
	k.flags(c)
	return c
}

func listText(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ",")
}

func extentsText(extents []identity.Extent, n identity.NSAnswer, most int) string {
	switch {
	case n.Partial:
		return "(too many extents to read on this kernel)"
	case !n.Mapped:
		return "(not written yet)"
	case len(extents) == 0:
		return "(none)"
	}
	var parts []string
	for i, e := range extents {
		if i == most {
			parts = append(parts, fmt.Sprintf("… %d more", len(extents)-most))
			break
		}
		parts = append(parts, rangeText(e.First, e.Count)+"→"+rangeText(e.Host, e.Count))
	}
	return strings.Join(parts, " ")
}

func rangeText(first, count uint32) string {
	s := strconv.FormatUint(uint64(first), 10)
	if count > 1 {
		s += "-" + strconv.FormatUint(uint64(first)+uint64(count)-1, 10)
	}
	return s
}

func overlapsText(n identity.NSAnswer, kind string, most int) string {
	var parts []string
	for _, o := range n.Overlaps {
		if o.Kind != kind {
			continue
		}
		if len(parts) == most {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, fmt.Sprintf("%s with %d", rangeText(o.Host, o.Count), o.With))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}
