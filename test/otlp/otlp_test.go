//go:build host

package otlp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/otlp"
)

func line(n int) identity.LogLine {
	uid := identity.UID(7)
	return identity.LogLine{
		Time: time.Unix(1700000000, int64(n)), Container: "393dc72765dc", Stream: identity.Stderr, Seq: uint64(n), Body: []byte(fmt.Sprint("line ", n)),
		Via: identity.LogKernel, PID: 20671, PIDs: []identity.PID{20671, 7, 1}, UID: 200007, InnerUID: &uid, Comm: "sleep",
		Chain: []identity.Link{
			{Kind: "node", ID: "ed5ed647", Name: "node1", Runtime: "host"},
			{Kind: "container", ID: "33e9d68c4816", Name: "devbox", Runtime: "containerd", ContainerID: "0123456789abcdef", Image: "r/box:v1", PodUID: "2ff1", Level: 1,
				Pod: &identity.Pod{Namespace: "team-a", Name: "web-0", UID: "2ff1", Container: "web"}},
			{Kind: "container", ID: "393dc72765dc", Name: "build", Runtime: "podman", Level: 2},
		},
	}
}

func run(t *testing.T, o otlp.Options) (e *otlp.Exporter, stop func()) {
	t.Helper()
	o.Every, o.Backoff = 100*time.Millisecond, otlp.Backoff{Initial: 50 * time.Millisecond, Max: 200 * time.Millisecond}
	o.Log = zerolog.New(os.Stderr).Level(zerolog.Disabled)
	e, err := otlp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := errors.Join(<-done, e.Close()); err != nil {
			t.Error(err)
		}
	}
}

func ways(c *collector) map[string]otlp.Options {
	return map[string]otlp.Options{
		"grpc": {Protocol: otlp.GRPC, Endpoint: "http://" + c.grpc},
		"http": {Protocol: otlp.HTTP, Endpoint: "http://" + c.http, Compression: "gzip"},
	}
}

// A real Collector takes every attribute, over both protocols, and bodies of any bytes.
func TestCollector(t *testing.T) {
	for _, way := range []string{"grpc", "http"} {
		t.Run(way, func(t *testing.T) {
			c := newCollector(t)
			c.start(t)
			o := ways(c)[way]
			e, stop := run(t, o)
			binary := line(2)
			binary.Body = []byte("\xff\x00\n")
			e.Put([]identity.LogLine{line(1), binary})
			stop()
			c.stop(t)
			got := c.records(t)
			if s := e.Stats(); s.Sent.Records != 2 || len(got) != 2 {
				t.Fatalf("%+v, and %d arrived", s, len(got))
			}
			text := func(s string) any { return s }
			values := func(key string, all ...any) any {
				var out []any
				for _, v := range all {
					out = append(out, map[string]any{key: v})
				}
				return map[string]any{"values": out}
			}
			if d := cmp.Diff(map[string]any{
				"host.name": text("node1"), "k8s.pod.uid": text("2ff1"), "k8s.namespace.name": text("team-a"), "k8s.pod.name": text("web-0"),
				"k8s.container.name": text("web"), "container.id": text("0123456789abcdef"), "container.name": text("devbox"),
				"container.runtime.name": text("containerd"), "container.image.name": text("r/box"), "container.image.tags": values("stringValue", "v1"),
				"eyas.container.id": text("33e9d68c4816"),
			}, got[0].resource); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(map[string]any{
				"log.iostream": text("stderr"), "eyas.log.via": text("kernel"), "eyas.log.seq": text("1"), "process.pid": text("20671"), "process.vpid": text("1"),
				"eyas.pid.chain": values("intValue", "20671", "7", "1"), "eyas.process.comm": text("sleep"), "eyas.user.host_id": text("200007"),
				"eyas.user.id": text("7"), "eyas.container.chain": text("devbox/build"), "eyas.container.level": text("2"),
				"eyas.nested.id": text("393dc72765dc"), "eyas.nested.name": text("build"), "eyas.nested.runtime": text("podman"),
			}, plain(got[0].Attributes)); d != "" {
				t.Error(d)
			}
			if got[0].TimeUnixNano != "1700000000000000001" || got[0].Body["stringValue"] != "line 1" {
				t.Error(got[0])
			}
			if b, _ := got[1].Body["bytesValue"].(string); b != base64.StdEncoding.EncodeToString(binary.Body) {
				t.Error(got[1].Body)
			}
		})
	}
}

// A Collector that is killed and comes back later has every line: some twice, if
// it had taken them and could not say so. Those it had taken and not written are
// its own loss, so it is killed when all it took is written.
func TestCollectorRestarts(t *testing.T) {
	for _, way := range []string{"grpc", "http"} {
		t.Run(way, func(t *testing.T) {
			c := newCollector(t)
			c.start(t)
			o := ways(c)[way]
			o.DiskDir, o.DiskBytes = t.TempDir(), 16<<20
			e, stop := run(t, o)
			put := func(from, to int) {
				for i := from; i < to; i++ {
					e.Put([]identity.LogLine{line(i)})
				}
			}
			put(1, 1001)
			until(t, "arrival", func() bool { return len(c.records(t)) == 1000 })
			c.kill(t)
			put(1001, 3001)
			until(t, "lines on disk", func() bool { return e.Stats().Disk.Records > 0 })
			stop() // the agent, too
			e, stop = run(t, o)
			put(3001, 4001)
			c.start(t)
			until(t, "all is sent", func() bool { s := e.Stats(); return s.Put == s.Sent })
			stop()
			c.stop(t)
			seen := map[int]int{}
			for _, r := range c.records(t) {
				n, err := strconv.Atoi(plain(r.Attributes)["eyas.log.seq"].(string))
				if err != nil {
					t.Fatal(err)
				}
				seen[n]++
			}
			for i := 1; i <= 4000; i++ {
				if seen[i] != 1 {
					t.Fatalf("line %d arrived %d times", i, seen[i])
				}
			}
		})
	}
}
