//go:build host

package host

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"
)

// otlpLines is a receiver of OTLP over HTTP: what it got by stream, and the
// attributes of the last line.
type otlpLines struct {
	mu    sync.Mutex
	text  map[string]*strings.Builder
	about map[string]string
}

func (o *otlpLines) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	var got collogs.ExportLogsServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &got)
	}
	if err != nil || r.URL.Path != "/v1/logs" {
		http.Error(w, fmt.Sprint(r.URL, err), http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, resource := range got.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			for _, l := range scope.LogRecords {
				o.about = map[string]string{}
				for _, a := range append(resource.Resource.Attributes, l.Attributes...) {
					o.about[a.Key] = a.Value.String()
				}
				stream := o.about["log.iostream"]
				if o.text[stream] == nil {
					o.text[stream] = &strings.Builder{}
				}
				fmt.Fprintln(o.text[stream], l.Body.GetStringValue())
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// TestLogsSent: what a container writes arrives at a receiver, in order, with who
// wrote it.
func TestLogsSent(t *testing.T) {
	o := &otlpLines{text: map[string]*strings.Builder{}}
	server := httptest.NewServer(o)
	defer server.Close()
	a := startAgent(t, "", "--logs", "all", "--logs-source", "kernel", "--otlp-endpoint", server.URL, "--otlp-protocol", "http/protobuf", "--otlp-disk-bytes", "8MiB")
	logHooks(t, a)
	_, stdout, stderr := nestedShell(t, "seq 1 2000; seq 3001 4000 >&2; echo last")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	text := func(stream string) string {
		o.mu.Lock()
		defer o.mu.Unlock()
		for k, s := range o.text {
			if strings.Contains(k, stream) {
				return s.String()
			}
		}
		return ""
	}
	if err := poll(ctx, a.done, func() error {
		if out, errs := text("stdout"), text("stderr"); out != stdout || errs != stderr {
			return fmt.Errorf("%d and %d bytes of %d and %d arrived", len(out), len(errs), len(stdout), len(stderr))
		}
		return nil
	}); err != nil {
		if missed := total(a.families(), "eyas_hook_missed_total"); missed == 0 {
			t.Error(err)
		} else {
			t.Logf("the kernel skipped %v runs of programs: %v", missed, err)
		}
	}
	// The last are counted when the receiver has answered.
	if err := poll(ctx, a.done, func() error {
		f := a.families()
		if sent, dropped := total(f, "eyas_otlp_sent_records_total"), total(f, "eyas_otlp_dropped_records_total"); sent < 3000 || dropped != 0 {
			return fmt.Errorf("%v lines sent, %v dropped", sent, dropped)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"host.name", "process.pid", "process.vpid", "eyas.container.chain", "eyas.container.level", "eyas.user.host_id"} {
		if o.about[key] == "" {
			t.Errorf("no %s in %v", key, o.about)
		}
	}
}
