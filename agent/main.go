// Command eyas maps processes of nested containers to who they are on the
// host, as a daemon and as the commands that ask it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/eyas-agent/eyas/agent/command"
	"github.com/eyas-agent/eyas/agent/daemon"
)

func main() {
	// Where it fails, the agent says what does not work.
	_ = daemon.EnterHostCgroups("/proc")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal kills: the first one gives the default action back.
	context.AfterFunc(ctx, stop)
	os.Exit(command.Main(ctx, command.Env{
		Program: os.Args[0], Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
	}))
}
