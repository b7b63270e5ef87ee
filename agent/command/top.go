package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/top"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newTop(env Env) *cobra.Command {
	k := &client{env: env}
	interval, once := 2*time.Second, false
	c := &cobra.Command{
		Use: "top [CHAIN]", Short: "Watch what containers use of their limits and do each second",
		Long: "Watch containers and those inside them, live: processes, tasks, memory and pressure of\n" +
			"their cgroups against the limits, and forks, denials, and bytes through overlays each\n" +
			"second. With CHAIN, that container and the containers inside it. ? shows the keys.\n" +
			"When stdout is no terminal, one table is printed after one interval; JSON at once, with\n" +
			"counters in place of rates.",
		Example: "  eyas top\n  eyas top web/db --interval 5s\n  eyas top --once -o wide",
		Args:    args(cobra.MaximumNArgs(1)), ValidArgsFunction: k.complete,
		RunE: func(c *cobra.Command, a []string) error {
			if err := k.check(); err != nil {
				return err
			}
			if interval < 100*time.Millisecond || interval > time.Hour {
				return usageError{fmt.Errorf("--interval: want 100ms to 1h, got %q", interval)}
			}
			return k.top(c.Context(), strings.Join(a, ""), interval, once)
		},
	}
	k.flags(c)
	c.Flags().DurationVar(&interval, "interval", interval, "time between two looks")
	c.Flags().BoolVar(&once, "once", false, "print one table and exit, also on a terminal")
	return c
}

func (k *client) top(ctx context.Context, chain string, interval time.Duration, once bool) error {
	remote, _, err := api.Dial(ctx, k.socket)
	if errors.Is(err, api.ErrDown) {
		return fmt.Errorf("%w: top needs a running agent, which counts: see eyas agent --help", err)
	}
	if err != nil {
		return err
	}
	defer remote.Close()
	rows, err := remote.Stats(ctx, chain)
	if err != nil {
		return err // before anything is drawn
	}
	if k.output == "json" {
		return writeJSON(k.env.Stdout, rows)
	}
	if !once && isTerminal(k.env.Stdout) {
		return top.Run(ctx, top.Options{
			Ask:      func(ctx context.Context) ([]identity.StatsRow, error) { return remote.Stats(ctx, chain) },
			Interval: interval, Where: chain, Escape: Escape,
		})
	}
	wait := time.NewTimer(interval)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	later, err := remote.Stats(ctx, chain)
	if err != nil {
		return err
	}
	header, cells := top.Table(top.Rates(rows, later, Escape), k.output == "wide")
	t := newTable(k.env.Stdout, header...)
	for _, line := range cells {
		row := make([]any, len(line))
		for i, s := range line {
			row[i] = s
		}
		t.AppendRow(row)
	}
	t.Render()
	return nil
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
