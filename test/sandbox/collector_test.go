//go:build host

package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

const (
	collectorAddr = "127.0.0.1:4317"

	collectorConfig = `
receivers:
  otlp: {protocols: {grpc: {endpoint: "%s", max_recv_msg_size_mib: 64}}}
exporters:
  file: {path: "%s", format: proto, flush_interval: 200ms}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [otlp], exporters: [file]}
`
)

// collected is what a real OpenTelemetry Collector has written to its file, by
// container and stream.
type collected struct {
	t       *testing.T
	in      *os.File
	at      int64
	streams map[string]*sent // by container and stream
	bytes   int
}

// sent is a stream as it arrived.
type sent struct {
	text  strings.Builder
	seq   int64
	names map[string]int    // that its lines are told by
	about map[string]string // of the last line
}

// startCollector starts the Collector that EYAS_OTELCOL names.
func startCollector(t *testing.T, n *node) *collected {
	t.Helper()
	dir := filepath.Join("/var/lib/eyas-test", t.Name()) // on disk: it is long
	file := filepath.Join(dir, "out")
	config := filepath.Join(dir, "config.yaml")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(config, fmt.Appendf(nil, collectorConfig, collectorAddr, file), 0o600)); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Getenv("EYAS_OTELCOL"), "--config", "file:"+config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if b, err := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("the Collector's log (%v):\n%s", err, b[max(0, len(b)-2000):])
		}
	})
	n.eventually(t, "the Collector listens", func() error {
		conn, err := net.Dial("tcp", collectorAddr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	c := &collected{t: t, streams: map[string]*sent{}}
	if c.in, err = os.Open(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.in.Close() })
	return c
}

// read takes over what is new: messages with their length before them.
func (c *collected) read() error {
	for {
		var head [4]byte
		if _, err := c.in.ReadAt(head[:], c.at); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		b := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := c.in.ReadAt(b, c.at+4); errors.Is(err, io.EOF) {
			return nil // it is being written
		} else if err != nil {
			return err
		}
		c.at += int64(4 + len(b))
		var got collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(b, &got); err != nil {
			return err
		}
		for _, resource := range got.ResourceLogs {
			for _, scope := range resource.ScopeLogs {
				for _, l := range scope.LogRecords {
					c.add(resource.Resource.Attributes, l)
				}
			}
		}
	}
}

func (c *collected) add(resource []*common.KeyValue, l *logsv1.LogRecord) {
	about := map[string]string{}
	var seq int64
	for _, all := range [][]*common.KeyValue{resource, l.Attributes} {
		for _, a := range all {
			switch v := a.Value.Value.(type) {
			case *common.AnyValue_StringValue:
				about[a.Key] = v.StringValue
			case *common.AnyValue_IntValue:
				if a.Key == "eyas.log.seq" {
					seq = v.IntValue
				}
				if strings.HasPrefix(a.Key, "eyas.log.dropped") {
					c.t.Errorf("%s: %d of %v", a.Key, v.IntValue, about)
				}
			case *common.AnyValue_BoolValue:
				about[a.Key] = fmt.Sprint(v.BoolValue)
			}
		}
	}
	key := about["eyas.nested.id"] + " " + about["log.iostream"]
	s := c.streams[key]
	if s == nil {
		s = &sent{names: map[string]int{}}
		c.streams[key] = s
	}
	if s.seq++; seq != s.seq {
		c.t.Errorf("%s: line %d comes after %d", key, seq, s.seq-1)
		s.seq = seq
	}
	s.about = about
	s.names[about["eyas.nested.name"]]++
	body := l.Body.GetStringValue()
	if about["eyas.log.partial"] == "" {
		body += "\n"
	}
	s.text.WriteString(body)
	c.bytes += len(body)
}
