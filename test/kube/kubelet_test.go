//go:build host

package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// fakelet is the part of a kubelet that executes in containers: the library that
// containerd serves it with, behind the paths of kubelet. All containers have the
// program /eyas, and nothing else.
type fakelet struct {
	eyas string // the program
	port int

	mu    sync.Mutex
	execs []string // namespace/pod/container and command
	tty   func(in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) error
}

func (c *cluster) fakelet(eyas string) *fakelet {
	c.Helper()
	k := &fakelet{eyas: eyas}
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		o, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		name := r.PathValue("namespace") + "/" + r.PathValue("pod")
		remotecommand.ServeExec(w, r, k, name, "", r.PathValue("container"), r.URL.Query()["command"], o, time.Minute, 30*time.Second, remotecommand.SupportedStreamingProtocols)
	})
	s := httptest.NewTLSServer(mux)
	c.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		c.Fatal(err)
	}
	if k.port, err = strconv.Atoi(port); err != nil {
		c.Fatal(err)
	}
	return k
}

// ExecInContainer implements remotecommand.Executor.
func (k *fakelet) ExecInContainer(ctx context.Context, pod, _, container string, command []string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	k.mu.Lock()
	k.execs = append(k.execs, pod+"/"+container+" "+strings.Join(command, " "))
	k.mu.Unlock()
	if len(command) == 0 || command[0] != "/eyas" {
		return errors.New("no such program in the container")
	}
	if tty {
		return k.tty(in, out, resize)
	}
	cmd := exec.CommandContext(ctx, k.eyas, command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	if in == nil {
		cmd.Stdin = nil
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}

// told returns what was executed since the last call.
func (k *fakelet) told() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.Clone(k.execs)
	k.execs = nil
	return all
}
