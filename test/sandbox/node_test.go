//go:build host

package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/manifests"
	"github.com/eyas-agent/eyas/test/cri"
)

const (
	listen   = "127.0.0.1:9817"
	stateDir = "/var/lib/eyas"
)

// node is a containerd with runc and crun, and an agent.
type node struct {
	*cri.Client
	containerd *cri.Containerd
	systemd    bool
	agentLog   string
	agentDone  chan struct{}
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := newRuntime(t)
	n.startAgent(t)
	return n
}

// newRuntime is a node without an agent.
func newRuntime(t *testing.T) *node {
	t.Helper()
	if os.Getenv("EYAS_VM") != "1" {
		t.Skip("it wants a node of its own: see test/vm/suite")
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(seccompFile), 0o755), os.WriteFile(seccompFile, manifests.Profiles()["sandbox.json"], 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err := os.Stat("/run/systemd/system")
	n := &node{systemd: err == nil, agentLog: filepath.Join(t.TempDir(), "agent.log")}
	t.Cleanup(func() { n.tail(t) })
	n.containerd, err = cri.StartContainerd(t.Context(), cri.ContainerdOptions{
		Dir: "/run/eyas-test", Root: "/var/lib/containerd", Pause: "localhost/pause:latest", Systemd: n.systemd,
		CNIBin: "/usr/lib/cni", CNIConf: "/etc/cni/net.d",
		NRITime: time.Minute, // emulated, and on busy cores
		// cgroup_writable is not set: to make it so is the agent's business.
		Handlers: []cri.Handler{{Name: "runc"}, {Name: "crun", Binary: "/usr/bin/crun"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.containerd.Stop(); err != nil {
			t.Errorf("stop containerd: %v", err)
		}
	})
	if n.Client, err = cri.Dial(n.containerd.Socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func (n *node) startAgent(t *testing.T, more ...string) {
	t.Helper()
	log, err := os.Create(n.agentLog)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Getenv("EYAS_BIN"), append([]string{"agent", "--listen", listen, "--state-dir", stateDir, "--log-level", "debug",
		"--nri", "on", "--nri-socket", n.containerd.NRI}, more...)...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.agentDone = make(chan struct{})
	go func() { _ = cmd.Wait(); close(n.agentDone) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-n.agentDone
		if !cmd.ProcessState.Success() {
			t.Errorf("the agent ended with %s", cmd.ProcessState)
		}
	})
	n.eventually(t, "the agent is connected to containerd", func() error {
		resp, err := http.Get("http://" + listen + "/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(b), "\neyas_nri_connected 1\n") {
			err = errors.New("eyas_nri_connected is not 1")
		}
		return err
	})
}

// eventually asks until there is no error, the agent dies, or patience ends.
func (n *node) eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-n.agentDone:
			t.Fatalf("%s: the agent died", what)
		case <-ctx.Done():
			t.Fatalf("%s: not in time: %v", what, err)
		case <-tick.C:
		}
	}
}

// tail shows, of a test that failed, what the programs logged.
func (n *node) tail(t *testing.T) {
	if !t.Failed() {
		return
	}
	files := []string{n.agentLog}
	if n.containerd != nil {
		files = append(files, n.containerd.LogFile())
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		t.Logf("%s (%v):\n%s", f, err, b[max(0, len(b)-4000):])
	}
}

// eyas runs a command of the binary that does not fail.
func (n *node) eyas(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(os.Getenv("EYAS_BIN"), args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatalf("eyas %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// lease is what `eyas leases` says of a container.
func (n *node) lease(t *testing.T, id string) (ledger.Lease, bool) {
	t.Helper()
	var all []ledger.Lease
	if err := json.Unmarshal(n.eyas(t, "leases", "-o", "json"), &all); err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Owner.ContainerID == id {
			return l, true
		}
	}
	return ledger.Lease{}, false
}
