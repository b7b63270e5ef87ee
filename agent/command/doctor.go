package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newDoctor(env Env) *cobra.Command {
	k := &client{env: env}
	maxPods, kubelet, try := 0, "", false
	c := &cobra.Command{
		Use:   "doctor node|CHAIN",
		Short: "Check whether this node, or a container, is fit for nested containers",
		Long: "Check whether this node, or a container, is fit for containers inside containers;\n" +
			"what does not work is shown with why it matters and how to fix it.\n\n" +
			"States: ok, warn (works in part), fail, unknown (could not be found out),\n" +
			"not-applicable. Exit status: 0 if no check fails, 1 if one does, 2 for a wrong\n" +
			"call, 3 if there is no such container. Needs root; an agent need not run.\n\n" +
			"With --try a process of eyas becomes the container's user, in its namespaces and\n" +
			"cgroup, and does what an engine would: a user namespace, ids mapped by the\n" +
			"container's own newuidmap and newgidmap, mounts, a cgroup with limits. It takes\n" +
			"a second, a dozen threads and some memory of the container's; its first process\n" +
			"is stopped for a moment if it has seccomp filters. Nothing is left behind.",
		Example: "  eyas doctor node\n  eyas doctor web/builder -o wide\n  eyas doctor web/builder --try",
		Args:    args(cobra.ExactArgs(1)), ValidArgsFunction: k.completeNode,
		RunE: func(c *cobra.Command, a []string) error {
			if err := k.check(); err != nil {
				return err
			}
			if maxPods < 0 {
				return usageError{fmt.Errorf("--max-pods: want a number of pods, or 0, got %d", maxPods)}
			}
			if try && a[0] == "node" {
				return usageError{errors.New("--try: only a container can be tried: eyas doctor CHAIN --try")}
			}
			node := doctor.NewNode(doctor.NodeOptions{
				Proc: daemon.DefaultConfig().ProcRoot, StateDir: k.state, Kubelet: kubelet, MaxPods: maxPods, Agent: k.health,
			})
			results, err := k.examine(c.Context(), node, a[0], try)
			if err != nil {
				return err
			}
			if err := k.printResults(results); err != nil {
				return err
			}
			if n := doctor.Failed(results); n > 0 {
				return fmt.Errorf("%s", plural(n, "check fails", "checks fail"))
			}
			return nil
		},
	}
	k.flags(c)
	c.Flags().BoolVar(&try, "try", try, "also try it in the container, as its user")
	c.Flags().IntVar(&maxPods, "max-pods", maxPods, "kubelet's maxPods; 0: as its config.yaml says, or 110")
	c.Flags().StringVar(&kubelet, "kubelet-root", daemon.DefaultConfig().KubeletRoot, "kubelet's root directory")
	return c
}

func (k *client) completeNode(c *cobra.Command, a []string, s string) ([]string, cobra.ShellCompDirective) {
	names, _ := k.complete(c, a, s)
	return append([]string{"node\tthis machine"}, names...), cobra.ShellCompDirectiveNoFileComp
}

// health asks the agent how it fares.
func (k *client) health(ctx context.Context) (api.Health, error) {
	remote, _, err := api.Dial(ctx, k.socket)
	if err != nil {
		return api.Health{}, err
	}
	defer remote.Close()
	return remote.Health(ctx)
}

func (k *client) examine(ctx context.Context, node *doctor.Node, what string, try bool) (results []doctor.Result, err error) {
	if what == "node" {
		if _, err := k.health(ctx); errors.Is(err, api.ErrDown) {
			fmt.Fprintf(k.env.Stderr, "eyas: %s: its hooks are unknown\n", Escape(err.Error()))
		}
		return node.Check(ctx), nil
	}
	err = k.ask(ctx, func(ctx context.Context, q api.Querier) error {
		c, err := openContainer(ctx, q, node, what)
		if err != nil {
			return err
		}
		defer c.Close()
		results = c.Check(ctx)
		if try {
			results = append(results, c.Try(ctx)...)
		}
		return c.Alive()
	})
	return results, err
}

func (k *client) printResults(all []doctor.Result) error {
	w := k.env.Stdout
	if k.output == "json" {
		return writeJSON(w, all)
	}
	wide := k.output == "wide"
	header := []string{"STATE", "CHECK", "WHAT", "FOUND"}
	if wide {
		header = append(header, "WHY", "FIX")
	}
	t := newTable(w, header...)
	count := map[doctor.State]int{}
	for _, r := range all {
		count[r.State]++
		most := 80
		if wide {
			most = 400
		}
		row := []any{r.State, r.ID, r.What, Escape(clip(r.Found, most))}
		if wide {
			row = append(row, r.Why, Escape(r.Fix))
		}
		t.AppendRow(row)
	}
	t.Render()
	if !wide {
		printTroubles(w, all)
	}
	var parts []string
	for _, s := range doctor.States() {
		if count[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[s], s))
		}
	}
	_, err := fmt.Fprintf(w, "\n%s: %s\n", plural(len(all), "check", "checks"), strings.Join(parts, ", "))
	return err
}

// printTroubles tells what does not work in full, the worst first.
func printTroubles(w io.Writer, all []doctor.Result) {
	for _, s := range []doctor.State{doctor.Fail, doctor.Warn} {
		for _, r := range all {
			if r.State != s {
				continue
			}
			fmt.Fprintf(w, "\n%s %s: %s\n  why  %s\n", strings.ToUpper(string(r.State)), r.ID, Escape(r.Found), r.Why)
			if r.Fix != "" {
				fmt.Fprintf(w, "  fix  %s\n", Escape(r.Fix))
			}
		}
	}
}

// probe is this program as a child of doctor.
func probe(env Env) int {
	if err := doctor.Probe(env.Args[1:], os.Stdin, env.Stdout); err != nil {
		fmt.Fprintln(env.Stderr, Escape(err.Error()))
		return exitFailed
	}
	return exitOK
}
