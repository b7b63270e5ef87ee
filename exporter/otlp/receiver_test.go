package otlp

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
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
	in := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if in, err = gzip.NewReader(in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	body, err := io.ReadAll(in)
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
