package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/list"
	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

type treeNode = identity.TreeNode

func eachNode(nodes []treeNode, f func(treeNode)) {
	for _, n := range nodes {
		f(n)
		eachNode(n.Children, f)
	}
}

func newTree(env Env) *cobra.Command {
	k := &client{env: env}
	c := &cobra.Command{
		Use: "tree", Short: "Show the containers inside containers", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return k.ask(c.Context(), func(ctx context.Context, q api.Querier) error {
				nodes, err := q.Tree(ctx)
				if err != nil {
					return err
				}
				if k.output == "json" {
					return writeJSON(env.Stdout, nodes)
				}
				l := list.NewWriter()
				l.SetStyle(list.StyleConnectedRounded)
				l.AppendItem("node")
				growTree(l, nodes, k.output == "wide")
				fmt.Fprintln(env.Stdout, l.Render())
				return nil
			})
		},
	}
	k.flags(c)
	return c
}

func growTree(l list.Writer, nodes []treeNode, wide bool) {
	if len(nodes) == 0 {
		return
	}
	l.Indent()
	for _, n := range nodes {
		text := fmt.Sprintf("%s  %s  %s", n.ID, linkText(n.Link), plural(n.Processes, "process", "processes"))
		if n.Zombies > 0 {
			text += fmt.Sprintf(", %s", plural(n.Zombies, "zombie", "zombies"))
		}
		if n.Pod != nil && n.Pod.Stale {
			text += ", its pod as last known"
		}
		if n.Escaped {
			text += ", ESCAPED its parent's cgroup"
		}
		if wide {
			text += fmt.Sprintf("  init %d  peak %d  pidns %d  userns %d  cgroup %s", n.InitPID, n.Peak, n.PIDNS, n.UserNS, Escape(n.Cgroup))
			if n.Image != "" {
				text += "  image " + Escape(clip(n.Image, 128))
			}
		}
		l.AppendItem(text)
		growTree(l, n.Children, wide)
	}
	l.UnIndent()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func newPS(env Env) *cobra.Command {
	k := &client{env: env}
	c := &cobra.Command{
		Use: "ps [CHAIN]", Short: "List nested processes with their ids at every level",
		Args: args(cobra.MaximumNArgs(1)), ValidArgsFunction: k.complete,
		RunE: func(c *cobra.Command, a []string) error {
			return k.ask(c.Context(), func(ctx context.Context, q api.Querier) error {
				return k.ps(ctx, q, strings.Join(a, ""))
			})
		},
	}
	k.flags(c)
	return c
}

func (k *client) ps(ctx context.Context, q api.Querier, chain string) error {
	if k.output == "json" {
		all := []identity.Identity{}
		err := q.PS(ctx, chain, func(id identity.Identity) error { all = append(all, id); return nil })
		if err != nil {
			return err
		}
		return writeJSON(k.env.Stdout, all)
	}
	wide := k.output == "wide"
	header := []string{"PID", "PIDS", "UID", "UIDS", "CHAIN", "COMMAND"}
	if wide {
		header = []string{"PID", "PIDS", "UID", "UIDS", "GID", "GIDS", "THREADS", "AGE", "CHAIN", "CGROUP", "COMMAND"}
	}
	t := newTable(k.env.Stdout, header...)
	err := q.PS(ctx, chain, func(id identity.Identity) error {
		var pids, uids, gids []string
		for _, p := range id.PIDs[1:] {
			pids = append(pids, strconv.FormatUint(uint64(p), 10))
		}
		for _, u := range id.UserNSs[1:] {
			uids = append(uids, idText(u.UID))
			gids = append(gids, idText(u.GID))
		}
		row := []any{id.Host.PID, dash(pids), id.Host.UID, dash(uids), chainText(id.Chain), Escape(clip(id.Command, 60))}
		if wide {
			row = []any{id.Host.PID, dash(pids), id.Host.UID, dash(uids), id.Host.GID, dash(gids), id.Threads,
				age(id.Host.StartTime), chainText(id.Chain), Escape(id.Cgroup), Escape(clip(id.Command, 512))}
		}
		t.AppendRow(row)
		return nil
	})
	if err != nil {
		return err
	}
	t.Render()
	return nil
}

// dash joins the ids of levels 1 and inwards.
func dash(ids []string) string {
	if len(ids) == 0 {
		return "-"
	}
	return strings.Join(ids, "/")
}

func newVersion(env Env) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(env.Stdout, "eyas "+Version())
			return err
		},
	}
}
