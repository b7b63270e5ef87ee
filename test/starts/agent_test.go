//go:build host

package starts

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/test/cri"
)

// agent is a running eyas agent of a node.
type agent struct {
	t      testing.TB
	dir    string // its state
	socket string
	listen string
	cmd    *exec.Cmd
	done   chan struct{}
	log    buffer
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch starts an agent with the state of that name, "" for a new one, and does
// not wait.
func (n *node) launch(t testing.TB, state string, more ...string) *agent {
	t.Helper()
	if state == "" {
		state = fmt.Sprintf("state-%d", names.Add(1))
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, dir: filepath.Join(n.dir, state), listen: freePort(t), done: make(chan struct{})}
	a.socket = filepath.Join(n.dir, fmt.Sprintf("s%d", names.Add(1)))
	args := append(n.under[:len(n.under):len(n.under)], bin, "agent", "--state-dir", a.dir, "--socket", a.socket,
		"--listen", a.listen, "--nri", "on", "--nri-socket", n.containerd.NRI)
	a.cmd = exec.Command(args[0], append(args[1:], more...)...)
	a.cmd.Stderr = &a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	a.cmd.WaitDelay = patience
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = a.cmd.Wait(); close(a.done) }()
	t.Cleanup(func() {
		a.kill()
		if t.Failed() {
			t.Logf("log of agent %s:\n%s", state, &a.log)
		}
	})
	return a
}

// agent starts an agent and waits until the runtime has told it of all there is.
func (n *node) agent(t testing.TB, state string, more ...string) *agent {
	t.Helper()
	a := n.launch(t, state, more...)
	a.connected()
	return a
}

// connected waits until containers are prepared.
func (a *agent) connected() {
	a.t.Helper()
	a.until(func() error {
		f, err := a.families()
		if err != nil {
			return err
		}
		if total(f, "eyas_nri_connected") != 1 {
			return errors.New("not connected to the runtime")
		}
		return nil
	})
}

// until waits for something of an agent that lives.
func (a *agent) until(ask func() error) {
	a.t.Helper()
	var dead error
	eventually(a.t, func() error {
		select {
		case <-a.done:
			dead = fmt.Errorf("the agent is dead: %s", &a.log)
			return nil
		default:
			return ask()
		}
	})
	if dead != nil {
		a.t.Fatal(dead)
	}
}

// kill ends the agent as a crash would.
func (a *agent) kill() {
	_ = a.cmd.Process.Kill() // may be dead
	<-a.done
}

// stop ends the agent as an init system would.
func (a *agent) stop() {
	a.t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	<-a.done
	if code := a.cmd.ProcessState.ExitCode(); code != 0 {
		a.t.Fatalf("the agent stopped with exit code %d\n%s", code, &a.log)
	}
}

func (a *agent) families() (map[string]*dto.MetricFamily, error) {
	resp, err := http.Get("http://" + a.listen + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	return p.TextToMetricFamilies(resp.Body)
}

// metric adds up the series of a family that have these labels: name, value, ….
func (a *agent) metric(name string, labels ...string) float64 {
	a.t.Helper()
	f, err := a.families()
	if err != nil {
		a.t.Fatal(err)
	}
	return total(f, name, labels...)
}

func total(f map[string]*dto.MetricFamily, name string, labels ...string) (sum float64) {
	for _, m := range f[name].GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && have[labels[i]] == labels[i+1]
		}
		if fits {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// leases asks the agent.
func (a *agent) leases() []ledger.Lease {
	a.t.Helper()
	all, err := prepare.NewRemote(a.socket).Leases(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return all.Leases
}

// lease is that of a container.
func (a *agent) lease(c *cri.Container) (ledger.Lease, error) {
	for _, l := range a.leases() {
		if l.ID == c.ID {
			return l, nil
		}
	}
	return ledger.Lease{}, fmt.Errorf("container %s has no lease", c.ID)
}

// wantLease waits until the lease of a container has come to a state.
func (a *agent) wantLease(c *cri.Container, want ledger.State) (l ledger.Lease) {
	a.t.Helper()
	a.until(func() (err error) {
		if l, err = a.lease(c); err == nil && l.State != want {
			err = fmt.Errorf("lease is %s, want %s: %+v", l.State, want, l)
		}
		return err
	})
	return l
}

// wantLog waits until a line of the log has all of these.
func (a *agent) wantLog(parts ...string) {
	a.t.Helper()
	a.until(func() error {
		for line := range strings.Lines(a.log.String()) {
			has := true
			for _, p := range parts {
				has = has && strings.Contains(line, p)
			}
			if has {
				return nil
			}
		}
		return fmt.Errorf("no line with %q in the log", parts)
	})
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
