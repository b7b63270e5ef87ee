package api

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// TestHealth asks over a socket, and that all else still reaches the next handler.
func TestHealth(t *testing.T) {
	want := Health{
		Hooks:         []Hook{{Name: "on_exec", Target: "tp_btf/sched_process_exec", State: "missing", Reason: "load", Loss: "execs", Lost: 3}},
		LastReconcile: time.Unix(5, 6).UTC(), ReconcileInterval: 30 * time.Second, Drift: 7,
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	h := WithHealth(Handler(nil, Status{Version: "v1"}, zerolog.Nop()), func() Health { return want }, zerolog.Nop())
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends when closed
	}()
	defer func() {
		s.Close()
		<-done
	}()
	c, status, err := Dial(t.Context(), socket)
	if err != nil || status.Version != "v1" {
		t.Fatalf("dial: %+v, %v", status, err)
	}
	defer c.Close()
	got, err := c.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
}
