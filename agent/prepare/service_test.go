package prepare

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// canned is a Service that answers what it was given, and keeps what it was asked.
type canned struct {
	asked any
	err   error
}

func (c *canned) answer() Result {
	return Result{Lease: ledger.Lease{ID: "pid-1-2", Cgroup: "/a\x1b\"<&>"}, Subuid: "1000:1:999\n", Actions: []string{"own:."}}
}

func (c *canned) PreparePID(_ context.Context, r PIDRequest) (Result, error) {
	c.asked = r
	return c.answer(), c.err
}

func (c *canned) Release(_ context.Context, id string, o ReleaseOptions) (Result, error) {
	c.asked = releaseRequest{id, o}
	return c.answer(), c.err
}

func (c *canned) Leases(context.Context) (Leases, error) {
	c.asked = "leases"
	return Leases{Leases: []ledger.Lease{c.answer().Lease}, Blocked: []ledger.Blocked{{File: "x", Range: ledger.Range{Start: 1, Count: 2}, Known: true}}}, c.err
}

// serve serves a handler on a unix socket.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return socket
}

func TestRemote(t *testing.T) {
	c := &canned{}
	m := NewRemote(serve(t, Handler(c)))
	uid, gid := identity.UID(1000), identity.GID(0)
	ask := PIDRequest{PID: 7, Profile: "dev", DryRun: true, UID: &uid, GID: &gid}
	got, err := m.PreparePID(t.Context(), ask)
	if err != nil || !cmp.Equal(got, c.answer()) || !cmp.Equal(c.asked, any(ask)) {
		t.Errorf("prepare: %+v, %v, asked %+v", got, err, c.asked)
	}
	o := ReleaseOptions{DryRun: true, Force: true}
	got, err = m.Release(t.Context(), "pid-1-2", o)
	if err != nil || !cmp.Equal(got, c.answer()) || c.asked != any(releaseRequest{"pid-1-2", o}) {
		t.Errorf("release: %+v, %v, asked %+v", got, err, c.asked)
	}
	all, err := m.Leases(t.Context())
	want, _ := c.Leases(t.Context())
	if err != nil || !cmp.Equal(all, want) {
		t.Errorf("leases: %s, %v", cmp.Diff(all, want), err)
	}
	c.err = errors.New("no: \x1b[31m \u202e \"quoted\"")
	for _, call := range []func() error{
		func() error { _, err := m.PreparePID(t.Context(), ask); return err },
		func() error { _, err := m.Release(t.Context(), "x", o); return err },
		func() error { _, err := m.Leases(t.Context()); return err },
	} {
		if err := call(); err == nil || err.Error() != c.err.Error() {
			t.Errorf("%v", err)
		}
	}
}

func TestRemoteFails(t *testing.T) {
	if _, err := NewRemote(filepath.Join(t.TempDir(), "none")).Leases(t.Context()); err == nil || !strings.Contains(err.Error(), "ask the agent") {
		t.Errorf("no agent: %v", err)
	}
	m := NewRemote(serve(t, http.NotFoundHandler()))
	if _, err := m.Leases(t.Context()); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("an agent without the path: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Leases(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// What is no request asks nobody.
func TestHandlerRefuses(t *testing.T) {
	c := &canned{}
	socket := serve(t, Handler(c))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	for name, tc := range map[string]struct {
		method, path, body string
		code               int
		want               string
	}{
		"unknown field":  {"POST", PathPrepare, `{"pid":1,"profil":"dev"}`, 422, `unknown field \"profil\"`},
		"in release":     {"POST", PathRelease, `{"id":"x","forced":true}`, 422, "unknown field"},
		"too large":      {"POST", PathPrepare, `{"profile":"` + strings.Repeat("x", maxRequest) + `"}`, 422, "too large"},
		"negative pid":   {"POST", PathPrepare, `{"pid":-1}`, 422, "read request"},
		"empty":          {"POST", PathRelease, "", 422, "EOF"},
		"no JSON":        {"POST", PathPrepare, "\x1b\x00", 422, "read request"},
		"wrong method":   {"GET", PathPrepare, "", 405, ""},
		"wrong method 2": {"POST", PathLeases, "{}", 405, ""},
		"wrong path":     {"GET", "/v1/lease", "", 404, ""},
	} {
		q, err := http.NewRequestWithContext(t.Context(), tc.method, "http://eyas"+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.code || !strings.Contains(string(b), tc.want) || strings.ContainsRune(string(b), 0x1b) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, b)
		}
	}
	if c.asked != nil {
		t.Errorf("asked: %+v", c.asked)
	}
}
