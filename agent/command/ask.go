package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/exporter/api"
)

// client are the flags that every question has.
type client struct {
	env    Env
	socket string
	state  string
	output string
	config string // of commands that change something
}

func (k *client) flags(c *cobra.Command) {
	d := daemon.DefaultConfig()
	c.Flags().StringVar(&k.socket, "socket", d.Socket, "unix socket of the agent")
	c.Flags().StringVar(&k.state, "state-dir", d.StateDir, "history to read when no agent runs")
	c.Flags().StringVarP(&k.output, "output", "o", "table", "table, wide or json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (k *client) check() error {
	switch k.output {
	case "table", "wide", "json":
		return nil
	}
	return usageError{fmt.Errorf("--output: want table, wide or json, got %q", k.output)}
}

// ask calls f with the agent, or, when none answers, with a snapshot of our
// own, and says so on stderr.
func (k *client) ask(ctx context.Context, f func(context.Context, api.Querier) error) error {
	if err := k.check(); err != nil {
		return err
	}
	remote, _, err := api.Dial(ctx, k.socket)
	if err == nil {
		defer remote.Close()
		return f(ctx, remote)
	}
	if !errors.Is(err, api.ErrDown) {
		return err
	}
	local, closeLocal, lerr := daemon.Look(ctx, k.state)
	if lerr != nil {
		return fmt.Errorf("%w, and a snapshot could not be taken instead: %w", err, lerr)
	}
	defer func() { _ = closeLocal() }() // only read
	fmt.Fprintf(k.env.Stderr, "eyas: %s; this is a snapshot of %s taken for this call\n",
		Escape(err.Error()), time.Now().Format("15:04:05"))
	return f(ctx, local)
}

// complete offers the names of live containers.
func (k *client) complete(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
	defer cancel()
	remote, _, err := api.Dial(ctx, k.socket)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer remote.Close()
	nodes, err := remote.Tree(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	eachNode(nodes, func(n treeNode) { names = append(names, fmt.Sprintf("%s\t%s", n.ID, Escape(n.Name))) })
	return names, cobra.ShellCompDirectiveNoFileComp
}
