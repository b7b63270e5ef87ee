package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newOOM(env Env) *cobra.Command {
	k := &client{env: env}
	since := "24h"
	c := &cobra.Command{
		Use: "oom [CHAIN]", Short: "List OOM kills: at whose limit, who died, and who beside it",
		Long: "List OOM kills, the latest first: at whose limit, who died, and who was killed beside\n" +
			"it because of memory.oom.group. With CHAIN, those of that container and of the\n" +
			"containers inside it.",
		Example: "  eyas oom\n  eyas oom web/db --since 2h -o wide",
		Args:    args(cobra.MaximumNArgs(1)), ValidArgsFunction: k.complete,
		RunE: func(c *cobra.Command, a []string) error {
			from, err := parseTime("--since", since)
			if err != nil {
				return err
			}
			return k.ask(c.Context(), func(ctx context.Context, q api.Querier) error {
				return k.oom(ctx, q, strings.Join(a, ""), from)
			})
		},
	}
	k.flags(c)
	c.Flags().StringVar(&since, "since", since, "how far back: RFC 3339, or a duration ago such as 3h")
	return c
}

func (k *client) oom(ctx context.Context, q api.Querier, chain string, since time.Time) error {
	kills, err := q.OOM(ctx, chain, since)
	if err != nil {
		return err
	}
	if k.output == "json" {
		return writeJSON(k.env.Stdout, kills)
	}
	header := []string{"WHEN", "LIMIT", "USAGE", "MAX", "VICTIM", "PID", "PIDS", "COMMAND", "RSS", "BESIDE"}
	wide := k.output == "wide"
	if wide {
		header = append(header, "SOURCE", "CGROUP", "GROUP", "VICTIM'S CGROUP", "SCORE ADJ", "BY")
	}
	t := newTable(k.env.Stdout, header...)
	for _, o := range kills {
		for i, v := range o.Victims {
			row := []any{"", "", "", "", chainText(v.Chain), v.Host.PID, pidsBelow(v), Escape(v.Comm), rssText(v), "yes"}
			if i == 0 {
				row = []any{o.Time.Format(time.RFC3339), limitText(o.Limit), sizeText(o.Limit.Usage), sizeText(o.Limit.Max),
					chainText(v.Chain), v.Host.PID, pidsBelow(v), Escape(v.Comm), rssText(v), besideText(o)}
			}
			if wide {
				row = append(row, oomDetails(o, v, i == 0)...)
			}
			t.AppendRow(row)
			if !wide {
				break // the others are counted
			}
		}
	}
	t.Render()
	return nil
}

func oomDetails(o identity.OOMAnswer, v identity.OOMVictimAnswer, first bool) []any {
	row := []any{"", "", "", orDash(Escape(v.Cgroup)), v.ScoreAdj, ""}
	if first {
		row[0], row[1], row[2], row[5] = orDash(string(o.Limit.Source)), orDash(Escape(o.Limit.Cgroup)), orDash(Escape(o.Group)), o.By
	}
	return row
}

// limitText says whose limit it was.
func limitText(l identity.OOMLimitAnswer) string {
	var names []string
	for _, c := range l.Chain {
		names = append(names, linkText(identity.Link{Name: c.Name, Runtime: c.Runtime, Pod: c.Pod}))
	}
	chain := strings.Join(names, " ▸ ")
	if chain == "" {
		chain = "container " + orDash(l.Container) // not remembered any more
	}
	switch l.Scope {
	case identity.OOMContainer:
		return chain
	case identity.OOMInside:
		return chain + ": a cgroup inside"
	case identity.OOMPod:
		return "its pod"
	case identity.OOMCgroup:
		return "cgroup " + Escape(clip(l.Cgroup, 64))
	case identity.OOMV1:
		return "a cgroup of v1"
	case identity.OOMNode:
		return "the node"
	}
	return "not known"
}

func sizeText(n *uint64) string {
	if n == nil {
		return "-"
	}
	return units.BytesSize(float64(*n))
}

// rssText is what a victim used; a process that runs uses some.
func rssText(v identity.OOMVictimAnswer) string {
	if v.RSS == 0 {
		return "-"
	}
	return units.BytesSize(float64(v.RSS))
}

// pidsBelow joins a victim's pids from level 1 inwards.
func pidsBelow(v identity.OOMVictimAnswer) string {
	var pids []string
	for _, p := range v.PIDs[min(1, len(v.PIDs)):] {
		pids = append(pids, strconv.FormatUint(uint64(p), 10))
	}
	return dash(pids)
}

// besideText says who was killed beside the first victim.
func besideText(o identity.OOMAnswer) string {
	n := len(o.Victims) - 1 + o.More
	if n <= 0 {
		return "-"
	}
	var names []string
	for _, v := range o.Victims[1:min(3, len(o.Victims))] {
		names = append(names, Escape(v.Comm))
	}
	s := strings.Join(names, ", ")
	if more := n - len(names); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
