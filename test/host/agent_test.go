//go:build host

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/eyas-agent/eyas/exporter/api"
)

// binary returns the eyas to test: $EYAS_BIN, or one built here.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("EYAS_BIN"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "eyas-bin")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "eyas")
	cmd := exec.Command("go", "build", "-o", path, "github.com/eyas-agent/eyas/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build eyas: %w: %s", err, out)
	}
	return path, nil
})

var builtIn string // by binary

func TestMain(m *testing.M) {
	if os.Getenv(overlayWorkEnv) != "" {
		if err := overlayWork(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(logWorkEnv) != "" {
		if err := logWork(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the host tests load BPF programs and need root")
		os.Exit(1)
	}
	code := m.Run()
	if builtIn != "" {
		if err := os.RemoveAll(builtIn); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

// agent is a running eyas agent.
type agent struct {
	t      testing.TB
	cmd    *exec.Cmd
	done   chan struct{}
	log    lockedBuffer
	dir    string
	Socket string
	State  string
	Listen string
	Client *api.Client
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startAgent starts an agent in dir (a new one when empty) and waits until its
// first snapshot is taken.
func startAgent(t testing.TB, dir string, args ...string) *agent {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if dir == "" {
		dir = t.TempDir()
	}
	a := &agent{t: t, dir: dir, Socket: filepath.Join(dir, "s"), State: filepath.Join(dir, "state"), Listen: freePort(t), done: make(chan struct{})}
	a.cmd = exec.Command(bin, append([]string{"agent", "--socket", a.Socket, "--state-dir", a.State, "--listen", a.Listen,
		"--max-nested-series", "2000",
		// Emulated machines take half a minute to attach so many programs.
		"--denials=false"}, args...)...)
	a.cmd.Stderr = &a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = a.cmd.Wait(); close(a.done) }()
	t.Cleanup(func() {
		a.Kill()
		if t.Failed() {
			t.Logf("agent's log:\n%s", a.log.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := poll(ctx, a.done, func() error {
		resp, err := http.Get("http://" + a.Listen + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}); err != nil {
		t.Fatalf("agent does not get ready: %v\n%s", err, a.log.String())
	}
	if a.Client, _, err = api.Dial(t.Context(), a.Socket); err != nil {
		t.Fatal(err)
	}
	return a
}

// poll asks until it hears no error, the agent dies, or ctx ends.
func poll(ctx context.Context, dead <-chan struct{}, ask func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-dead:
			return errors.New("the agent is dead")
		case <-tick.C:
		}
	}
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

// Kill ends the agent at once, as a crash would.
func (a *agent) Kill() {
	_ = a.cmd.Process.Kill() // may be dead
	<-a.done
}

// Stop ends the agent as an init system would.
func (a *agent) Stop() {
	a.t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	select {
	case <-a.done:
	case <-time.After(30 * time.Second):
		a.t.Fatal("the agent does not stop within 30 s of SIGTERM")
	}
	if code := a.cmd.ProcessState.ExitCode(); code != 0 {
		a.t.Fatalf("the agent stopped with exit code %d\n%s", code, a.log.String())
	}
}

// families scrapes the agent.
func (a *agent) families() map[string]*dto.MetricFamily {
	a.t.Helper()
	text := a.scrape()
	p := expfmt.NewTextParser(model.UTF8Validation)
	f, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		a.t.Fatalf("parse metrics: %v", err)
	}
	return f
}

func (a *agent) scrape() string {
	a.t.Helper()
	resp, err := http.Get("http://" + a.Listen + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("scrape: %v %s %s", err, resp.Status, b)
	}
	return string(b)
}

func value(m *dto.Metric) float64 {
	if m.Counter != nil {
		return m.Counter.GetValue()
	}
	return m.Gauge.GetValue()
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// total adds up all series of a family, those with a label value if given.
func total(f map[string]*dto.MetricFamily, name string, with ...string) float64 {
	sum := 0.0
	for _, m := range f[name].GetMetric() {
		if len(with) == 2 && label(m, with[0]) != with[1] {
			continue
		}
		sum += value(m)
	}
	return sum
}

// eyas runs a client command of the binary.
func (a *agent) eyas(args ...string) (stdout, stderr string, code int) {
	a.t.Helper()
	return runEyas(a.t, append(args, "--socket", a.Socket, "--state-dir", a.State)...)
}

func runEyas(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	c := exec.Command(bin, args...)
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}
