package otlp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"crypto/tls"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// reply is what a receiver answers. The zero value takes all.
type reply struct {
	code       codes.Code // gRPC
	status     int        // HTTP
	retryAfter string     // HTTP
	rejected   int64
	message    string
	hang       bool // until the caller gives up
}

// receiver is one that runs in this process.
type receiver struct {
	collogs.UnimplementedLogsServiceServer
	protocol string
	addr     string
	tls      *tls.Config

	mu      sync.Mutex
	answer  func(n int) reply // to the nth request, from 1
	n       int
	got     []*logs.ResourceLogs // taken
	headers map[string]string    // of the last request
	closing chan struct{}
	stop    func()
}

func newReceiver(t *testing.T, protocol string, answer func(n int) reply) *receiver {
	t.Helper()
	r := &receiver{protocol: protocol, addr: "127.0.0.1:0", answer: answer}
	t.Cleanup(func() { r.close() })
	return r
}

// start listens, after close at the same address again.
func (r *receiver) start(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	r.closing = make(chan struct{})
	if r.protocol == GRPC {
		var opts []grpc.ServerOption
		if r.tls != nil {
			opts = append(opts, grpc.Creds(credentials.NewTLS(r.tls)))
		}
		s := grpc.NewServer(opts...)
		collogs.RegisterLogsServiceServer(s, r)
		go func() { _ = s.Serve(l) }()
		r.stop = s.Stop
		return r
	}
	s := &http.Server{Handler: r, ReadHeaderTimeout: time.Second, TLSConfig: r.tls}
	if r.tls != nil {
		l = tls.NewListener(l, r.tls)
	}
	go func() { _ = s.Serve(l) }()
	r.stop = func() { _ = s.Close() }
	return r
}

func (r *receiver) close() {
	if r.stop != nil {
		close(r.closing)
		r.stop()
		r.stop = nil
	}
}

func (r *receiver) endpoint() string {
	if r.tls != nil {
		return "https://" + r.addr
	}
	return "http://" + r.addr
}

func (r *receiver) next(req *collogs.ExportLogsServiceRequest, headers map[string]string) reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	r.headers = headers
	var a reply
	if r.answer != nil {
		a = r.answer(r.n)
	}
	if a.code == codes.OK && a.status == 0 && !a.hang {
		r.got = append(r.got, req.GetResourceLogs()...)
	}
	return a
}

// Export is the gRPC service.
func (r *receiver) Export(ctx context.Context, req *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	headers := map[string]string{}
	for k, v := range md {
		headers[k] = strings.Join(v, ",")
	}
	a := r.next(req, headers)
	if a.hang {
		select {
		case <-ctx.Done():
		case <-r.closing:
		}
	}
	if a.code != codes.OK {
		return nil, status.Error(a.code, a.message)
	}
	return a.response(), nil
}

func (a reply) response() *collogs.ExportLogsServiceResponse {
	r := &collogs.ExportLogsServiceResponse{}
	if a.rejected != 0 || a.message != "" {
		r.PartialSuccess = &collogs.ExportLogsPartialSuccess{RejectedLogRecords: a.rejected, ErrorMessage: a.message}
	}
	return r
}

// ServeHTTP is the HTTP service.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	var req collogs.ExportLogsServiceRequest
	if err = errors.Join(err, proto.Unmarshal(body, &req)); err != nil || q.URL.Path != "/v1/logs" {
		http.Error(w, fmt.Sprint(q.URL.Path, err), http.StatusBadRequest)
		return
	}
	headers := map[string]string{}
	for k, v := range q.Header {
		headers[strings.ToLower(k)] = strings.Join(v, ",")
	}
	a := r.next(&req, headers)
	if a.hang {
		select {
		case <-q.Context().Done():
		case <-r.closing:
		}
	}
	if a.status != 0 {
		if a.retryAfter != "" {
			w.Header().Set("Retry-After", a.retryAfter)
		}
		http.Error(w, a.message, a.status)
		return
	}
	out, _ := proto.Marshal(a.response())
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

// bodies are the texts of all records taken, in order.
func (r *receiver) bodies() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rl := range r.got {
		for _, sl := range rl.GetScopeLogs() {
			for _, l := range sl.GetLogRecords() {
				all = append(all, l.GetBody().GetStringValue())
			}
		}
	}
	return all
}

func (r *receiver) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// options are quick ones.
func options(r *receiver) Options {
	return Options{
		Protocol: r.protocol, Endpoint: r.endpoint(), Timeout: 10 * time.Second, Every: 10 * time.Millisecond, Drain: 10 * time.Second,
		Backoff: Backoff{Initial: 10 * time.Millisecond, Max: 50 * time.Millisecond}, Log: zerolog.Nop(),
	}
}

// run runs an exporter; stop ends it, and returns when it has ended.
func run(t *testing.T, o Options) (e *Exporter, stop func()) {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, e.Close()); err != nil {
			t.Error(err)
		}
		balanced(t, e.Stats())
	})
	t.Cleanup(stop)
	return e, stop
}

// balanced fails the test unless every line is accounted for.
func balanced(t *testing.T, s Stats) {
	t.Helper()
	sum := s.Sent
	sum.add(s.Memory)
	sum.add(s.Disk)
	for _, d := range s.Dropped {
		sum.add(d)
		if d.Records < 0 || d.Bytes < 0 {
			t.Errorf("a negative count: %+v", s)
		}
	}
	if sum != s.Put || s.Memory.Records < 0 || s.Disk.Records < 0 || s.Sent.Records < 0 {
		t.Errorf("put is %+v, the rest is %+v: %+v", s.Put, sum, s)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// line is one of a nested container.
func line(text string) identity.LogLine {
	pid, uid := identity.PID(1), identity.UID(7)
	return identity.LogLine{
		Time: time.Unix(1700000000, 123456789), Container: "393dc72765dc", Stream: identity.Stdout, Seq: 3, Body: []byte(text),
		Via: identity.LogKernel, PID: 20671, PIDs: []identity.PID{20671, 7, 1}, UID: 200007, InnerUID: &uid, Comm: "sleep",
		Chain: []identity.Link{
			{Kind: "node", ID: "ed5ed647", Name: "node1", Runtime: "host"},
			{
				Kind: "container", ID: "33e9d68c4816", Name: "devbox", Runtime: "containerd", ContainerID: "0123456789abcdef",
				Image: "registry:5000/dev/box:v1@sha256:00", PodUID: "2ff1", Level: 1,
			},
			{Kind: "container", ID: "393dc72765dc", Name: "build", Runtime: "podman", ContainerID: "fedcba", Image: "busybox", Level: 2, PID: &pid},
		},
	}
}

func lines(texts ...string) (all []identity.LogLine) {
	for _, s := range texts {
		all = append(all, line(s))
	}
	return all
}

func numbered(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint("line ", i))
	}
	return all
}
