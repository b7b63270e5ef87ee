//go:build host

package dashboards

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

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

// program is one that runs until the test is over, or kill.
type program struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  buffer
}

func start(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &p.log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, &p.log)
		}
	})
	return p
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill() // may be dead
	<-p.done
}

// until asks until it hears no error, a program is dead, or the time is over. Cleanups
// may call it, when the test's own context has ended.
func until(t *testing.T, limit time.Duration, dead <-chan struct{}, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-dead:
			t.Fatalf("a program is dead: %v", err)
		case <-ctx.Done():
			t.Fatalf("not in time: %v", err)
		}
	}
}

func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func ready(url string) func() error {
	return func() error {
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	}
}

// newAgent starts an agent with all that it can tell.
func newAgent(t *testing.T) (p *program, listen string) {
	t.Helper()
	dir := t.TempDir()
	bin := os.Getenv("EYAS_BIN")
	if bin == "" {
		bin = filepath.Join(dir, "eyas")
		build := exec.Command("go", "build", "-o", bin, "github.com/eyas-agent/eyas/agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build eyas: %v: %s", err, out)
		}
	}
	listen = address(t)
	p = start(t, exec.Command(bin, "agent", "--socket", filepath.Join(dir, "s"), "--state-dir", filepath.Join(dir, "state"), "--listen", listen,
		"--reconcile-interval", "2s", "--logs", "all", "--logs-output", filepath.Join(dir, "lines"), "--logs-rate", "1KiB", "--logs-burst", "16KiB",
		"--otlp-endpoint", "http://"+address(t), "--otlp-disk-bytes", "4MiB", "--nri", "on", "--nri-socket", filepath.Join(dir, "nri")))
	until(t, 3*time.Minute, p.done, ready("http://"+listen+"/readyz"))
	return p, listen
}

const prometheusConfig = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: eyas
    honor_labels: true
    static_configs: [{targets: [%q], labels: {cluster: test}}]
`

// prometheus is a real one that scrapes each second.
type prometheus struct {
	*program
	url string
}

func newPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	dir, listen := t.TempDir(), address(t)
	rules, err := filepath.Abs("../../manifests/alerts/eyas.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, rules, target), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{url: "http://" + listen}
	p.program = start(t, exec.Command(cmp.Or(os.Getenv("EYAS_PROMETHEUS"), "prometheus"), "--config.file", config,
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", listen, "--log.level", "warn"))
	until(t, time.Minute, p.done, ready(p.url+"/-/ready"))
	return p
}

// ask returns how many series a query has now.
func (p *prometheus) ask(query string) (int, error) {
	resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return len(answer.Data.Result), nil
}
