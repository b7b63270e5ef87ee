package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// ExitError is the exit status of eyas there, if it is not 0. What it had to say it
// has said.
type ExitError struct{ Code int }

func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// Streams are the caller's.
type Streams struct {
	In       io.Reader // nil: none
	Out, Err io.Writer
	Terminal *Terminal // nil: none; else Err stays silent, as a terminal has one output
}

// Run runs eyas in an agent's pod. It ends with ctx; what runs there then ends with its
// input, if it was told to, or when it writes. WebSockets are tried first, and SPDY where a server before 1.30, or a
// proxy, knows none.
func (c *Cluster) Run(ctx context.Context, a Agent, args []string, s Streams) error {
	r := c.client.Post().Namespace(a.Namespace).Resource("pods").Name(a.Name).SubResource("exec").
		Param("container", agentContainer).Param("stdout", "true").Param("command", agentProgram)
	for _, arg := range args {
		r = r.Param("command", arg)
	}
	o := remotecommand.StreamOptions{Stdin: s.In, Stdout: s.Out}
	if s.In != nil {
		r = r.Param("stdin", "true")
	}
	if s.Terminal != nil {
		r = r.Param("tty", "true")
		o.Tty, o.TerminalSizeQueue = true, s.Terminal
	} else {
		r = r.Param("stderr", "true")
		o.Stderr = s.Err
	}
	web, err := remotecommand.NewWebSocketExecutor(c.config, "GET", r.URL().String())
	if err != nil {
		return fmt.Errorf("run eyas on node %s: %w", a.Node, err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config, "POST", r.URL())
	if err != nil {
		return fmt.Errorf("run eyas on node %s: %w", a.Node, err)
	}
	both, err := remotecommand.NewFallbackExecutor(web, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return fmt.Errorf("run eyas on node %s: %w", a.Node, err)
	}
	err = both.StreamWithContext(ctx, o)
	var exit exec.CodeExitError
	switch {
	case errors.As(err, &exit):
		return ExitError{exit.Code}
	case apierrors.IsForbidden(err):
		return fmt.Errorf("run eyas on node %s: %w: it takes create and get on pods/exec in %s: see manifests/components/oncall", a.Node, err, a.Namespace)
	case err != nil:
		return fmt.Errorf("run eyas in pod %s/%s on node %s: %w", a.Namespace, a.Name, a.Node, err)
	}
	return nil
}
