// Package command holds the commands of eyas, one file each.
//
// What enters: arguments. What leaves: text or JSON on stdout, errors on
// stderr, an exit code. Noun commands only read, and work without the daemon
// from a snapshot of their own; `agent` is the daemon.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/agent/kube/remote"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/overlay"
)

// Env is the world as the commands see it; tests swap it.
type Env struct {
	Program string // argv[0]: it may be called as a plugin of kubectl
	Args    []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
	// Root is where /etc, /proc and /var/lib/kubelet are; "" is /.
	Root string
}

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3 // asked about somebody who does not exist
)

// Main runs one command and returns its exit code.
func Main(ctx context.Context, env Env) int {
	if len(env.Args) == 1 && env.Args[0] == daemon.SelfTestArg {
		return exitOK
	}
	if len(env.Args) == 1 && env.Args[0] == overlay.DriveArg {
		if err := overlay.DriveChild(); err != nil {
			fmt.Fprintln(env.Stderr, err)
			return exitFailed
		}
		return exitOK
	}
	if len(env.Args) > 0 && env.Args[0] == doctor.ProbeArg {
		return probe(env)
	}
	root := newRoot(env)
	switch name := filepath.Base(env.Program); {
	case strings.HasSuffix(name, pluginName):
		root = newPlugin(env)
	case name == completerName:
		root = newPlugin(env)
		env.Args = append([]string{cobra.ShellCompRequestCmd}, env.Args...)
	}
	root.SetArgs(env.Args)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var exit remote.ExitError
	if errors.As(err, &exit) {
		return exit.Code // eyas has said why, elsewhere
	}
	fmt.Fprintf(env.Stderr, "eyas: %s\n", Escape(err.Error()))
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, answers.ErrNotFound), errors.Is(err, identity.ErrNoContainer), errors.Is(err, remote.ErrNotFound):
		return exitNotFound
	}
	return exitFailed
}

// usageError is a mistake in the call, not in the world.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func newRoot(env Env) *cobra.Command {
	root := newRootOf(&cobra.Command{
		Use:   "eyas",
		Short: "Who is who in containers inside containers",
		Long: "eyas maps every process of nested containers to its host identity and back:\n" +
			"pids, uids and gids at every level, live and after death. It prepares containers to\n" +
			"run containers inside, and says why they fail.",
	})
	attend(root, env)
	root.AddCommand(newAgent(env), newWhois(env), newPS(env), newTree(env), newMap(env), newOOM(env), newTop(env), newDU(env), newLogs(env), newEnter(env), newDoctor(env), newAdvise(env), newExplain(env),
		newLeases(env), newPrepare(env), newRelease(env), newVersion(env))
	return root
}

// newRootOf gives a root command what all have.
func newRootOf(root *cobra.Command) *cobra.Command {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Args = func(_ *cobra.Command, a []string) error {
		if len(a) > 0 {
			return usageError{fmt.Errorf("unknown command %q: see %s --help", a[0], root.DisplayName())}
		}
		return nil
	}
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see %s --help", err, root.DisplayName())}
	})
	return root
}

// args wraps cobra's argument checks so that their errors count as usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, a []string) error {
		if err := check(c, a); err != nil {
			return usageError{fmt.Errorf("%w: see %s --help", err, c.CommandPath())}
		}
		return nil
	}
}

// Version returns the version that the build stamped, or what Go knows.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// version is set by the linker: -X …/command.version=v1.2.3.
var version string
