package command

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/daemon"
)

func newAgent(env Env) *cobra.Command {
	var file string
	config := daemon.DefaultConfig()
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the daemon, one per node",
		Long: "Run the daemon. It follows every nested process of this node, answers the other\n" +
			"commands over a unix socket, and serves metrics.",
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			resolved, err := resolve(c, file)
			if err != nil {
				return err
			}
			level, err := zerolog.ParseLevel(resolved.LogLevel)
			if err != nil {
				return usageError{err}
			}
			if err := fallbackRoots(); err != nil {
				return err
			}
			zerolog.TimeFieldFormat = time.RFC3339Nano
			log := zerolog.New(env.Stderr).Level(level).With().Timestamp().Logger()
			return daemon.Run(c.Context(), resolved, Version(), log)
		},
	}
	c.Flags().StringVar(&file, "config", "", "YAML file with the keys below, and those that are no flags: sandbox-profiles, sandbox-namespaces, sandbox-handlers, logs-redact")
	for _, s := range config.Settings() {
		c.Flags().String(s.Key, s.Get(), s.Help)
	}
	return c
}

// resolve makes the configuration: default, then file, then flags.
func resolve(c *cobra.Command, file string) (daemon.Config, error) {
	config := daemon.DefaultConfig()
	if file != "" {
		if err := config.LoadFile(file); err != nil {
			return config, err
		}
	}
	for _, s := range config.Settings() {
		flag := c.Flags().Lookup(s.Key)
		if flag == nil || !flag.Changed {
			continue
		}
		if err := s.Parse(flag.Value.String()); err != nil {
			return config, usageError{fmt.Errorf("--%s: %w, got %q", s.Key, err, flag.Value.String())}
		}
	}
	var wrong *daemon.KeyError
	if err := config.Check(); errors.As(err, &wrong) {
		if c.Flags().Changed(wrong.Key) {
			return config, usageError{fmt.Errorf("--%s: %w, got %q", wrong.Key, wrong.Want, wrong.Got)}
		}
		return config, usageError{err}
	}
	return config, nil
}
