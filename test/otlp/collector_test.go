//go:build host

package otlp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// peer is the folder that has the Collector.
var peer = sync.OnceValues(func() (string, error) {
	c := exec.Command("../peers/build", "otelcol")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("build otelcol: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

const config = `
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "%s"}
      http: {endpoint: "%s"}
exporters:
  file: {path: "%s", flush_interval: 100ms}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [otlp], exporters: [file]}
`

// collector is a real one that writes what it gets to a file.
type collector struct {
	grpc, http string // addresses
	dir        string
	cmd        *exec.Cmd
	ended      chan error
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{dir: t.TempDir(), grpc: freeAddress(t), http: freeAddress(t)}
	text := fmt.Sprintf(config, c.grpc, c.http, c.file())
	if err := os.WriteFile(filepath.Join(c.dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd != nil {
			c.stop(t)
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			t.Logf("the Collector's log:\n%s", log)
		}
	})
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (c *collector) file() string { return filepath.Join(c.dir, "out.json") }

// start returns when it listens. What it wrote before stays.
func (c *collector) start(t *testing.T) {
	t.Helper()
	dir, err := peer()
	if err != nil {
		t.Fatal(err)
	}
	// The file exporter begins anew.
	if old, err := os.ReadFile(c.file()); err == nil {
		err = os.WriteFile(filepath.Join(c.dir, fmt.Sprintf("before-%d.json", time.Now().UnixNano())), old, 0o600)
		if err = errors.Join(err, os.Remove(c.file())); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.Command(filepath.Join(dir, "otelcol"), "--config", "file:"+filepath.Join(c.dir, "config.yaml"))
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(c.cmd, c.ended)
	for _, addr := range []string{c.grpc, c.http} {
		until(t, "the Collector listens", func() bool {
			select {
			case err := <-c.ended:
				c.cmd = nil
				t.Fatalf("the Collector ended: %v", err)
			default:
			}
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				err = conn.Close()
			}
			return err == nil
		})
	}
}

// stop ends it as an operator would; what it has is then in its file.
func (c *collector) stop(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			t.Error("the Collector ended:", err)
		}
	case <-time.After(time.Minute):
		t.Error("the Collector does not end")
		t.Error(c.cmd.Process.Kill(), <-c.ended)
	}
	c.cmd = nil
}

// kill ends it at once.
func (c *collector) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-c.ended; err == nil {
		t.Error("the Collector ended by itself")
	}
	c.cmd = nil
}

// written is what the file exporter writes for a request: OTLP in JSON.
type written struct {
	ResourceLogs []struct {
		Resource  struct{ Attributes []attribute }
		ScopeLogs []struct {
			LogRecords []record
		}
	}
}

type record struct {
	TimeUnixNano, ObservedTimeUnixNano string
	Body                               map[string]any
	Attributes                         []attribute
	resource                           map[string]any
}

type attribute struct {
	Key   string
	Value map[string]any
}

func plain(all []attribute) map[string]any {
	m := map[string]any{}
	for _, a := range all {
		for _, v := range a.Value {
			m[a.Key] = v
		}
	}
	return m
}

// records reads all that it wrote.
func (c *collector) records(t *testing.T) (all []record) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			var w written
			if json.Unmarshal(lines.Bytes(), &w) != nil {
				break // it is being written
			}
			for _, rl := range w.ResourceLogs {
				for _, sl := range rl.ScopeLogs {
					for _, r := range sl.LogRecords {
						r.resource = plain(rl.Resource.Attributes)
						all = append(all, r)
					}
				}
			}
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}
