package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/layers"
)

// oracle answers what a test says, and keeps what it was asked.
type oracle struct {
	err   error
	n     int // processes of PS
	cut   error
	mu    sync.Mutex
	asked string
}

func (o *oracle) note(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = s
}

func (o *oracle) PID(_ context.Context, pid identity.HostPID) (identity.Identity, error) {
	o.note(fmt.Sprintf("pid %d", pid))
	return identity.Identity{Host: identity.Host{PID: pid}, Command: "sh \x1b[2J\u202e\n"}, o.err
}

func (o *oracle) InnerPID(_ context.Context, chain string, pid identity.PID) (identity.Identity, error) {
	o.note(fmt.Sprintf("pid %d in %q", pid, chain))
	return identity.Identity{}, o.err
}

func (o *oracle) ID(_ context.Context, q answers.IDQuery) (identity.IDAnswer, error) {
	o.note(fmt.Sprintf("id %+v", q))
	return identity.IDAnswer{Kind: "uid", ID: &q.ID, Owners: []identity.IDOwner{}}, o.err
}

func (o *oracle) PS(_ context.Context, chain string, yield func(identity.Identity) error) error {
	o.note(fmt.Sprintf("ps %q", chain))
	if o.err != nil {
		return o.err
	}
	for i := range o.n {
		if err := yield(identity.Identity{PPID: identity.HostPID(i), Command: strings.Repeat("x", 1000)}); err != nil {
			return err
		}
	}
	return o.cut
}

func (o *oracle) Tree(context.Context) ([]identity.TreeNode, error) {
	o.note("tree")
	return []identity.TreeNode{{Link: identity.Link{ID: "a"}, Children: []identity.TreeNode{{Link: identity.Link{ID: "b"}}}}}, o.err
}

func (o *oracle) OOM(_ context.Context, chain string, since time.Time) ([]identity.OOMAnswer, error) {
	o.note(fmt.Sprintf("oom %q since %d", chain, max(0, since.UnixNano())))
	return []identity.OOMAnswer{{By: 7, Victims: []identity.OOMVictimAnswer{}, Limit: identity.OOMLimitAnswer{Chain: []identity.OOMLink{}}}}, o.err
}

func (o *oracle) Denials(_ context.Context, q answers.DenialQuery) ([]identity.DenialAnswer, error) {
	o.note(fmt.Sprintf("denials %+v", q))
	return []identity.DenialAnswer{{Op: "chown", Comm: "\x1b[2J", PIDs: []identity.PID{7}, Chain: []identity.Link{}}}, o.err
}

func (o *oracle) TraceDenials(ctx context.Context, began func(map[string]string) error) error {
	o.note("trace")
	if o.err != nil {
		return o.err
	}
	if err := began(map[string]string{"hook": "why\x1b"}); err != nil {
		return err
	}
	if o.cut == nil {
		<-ctx.Done()
		o.note("trace ended")
	}
	return o.cut
}

func (o *oracle) Lines(_ context.Context, q answers.LogQuery, yield func(identity.LogAnswer) error) error {
	o.note(fmt.Sprintf("logs %+v", q))
	if o.err != nil {
		return o.err
	}
	return yield(identity.LogAnswer{Body: "\x1b[2J", Raw: []byte("\xff"), PIDs: []identity.PID{7}, Chain: []identity.Link{}})
}

func (o *oracle) Map(_ context.Context, chain string) ([]identity.NSAnswer, error) {
	o.note(fmt.Sprintf("map %q", chain))
	return []identity.NSAnswer{{UserNS: 7, Containers: []string{}}}, o.err
}

func (o *oracle) Stats(_ context.Context, chain string) ([]identity.StatsRow, error) {
	o.note(fmt.Sprintf("stats %q", chain))
	return stats, o.err
}

// stats is a container with all numbers, and one without those that may be missing.
var lines = answers.LogQuery{Chain: "web/db", Stream: identity.Stderr, Since: time.Unix(5, 6).UTC()}

var stats = func() []identity.StatsRow {
	n, share := uint64(1<<63+1), 12.34
	use := &identity.StatsUse{Current: 7, Max: &n}
	return []identity.StatsRow{
		{
			Time: time.Date(2026, 1, 31, 3, 0, 0, 1, time.UTC), Since: time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC), ID: "a", Parent: "b",
			Name: "sh \x1b[2J\u202e\n", Runtime: "podman", ContainerID: "c", Level: 2, Processes: 1, Threads: 2, Zombies: 3, Forks: n, Execs: 4,
			Denials: &n, PIDs: use, Memory: &identity.StatsUse{Current: n}, Pressure: &identity.StatsPressure{CPU: &share, IO: &share},
			Overlay: &identity.StatsOverlay{Read: n, Written: 5, CopiedUp: 6},
		},
		{ID: "b"},
	}
}()

func (o *oracle) Disks(_ context.Context, chain string, files int) ([]answers.Disk, error) {
	o.note(fmt.Sprintf("disks %q, %d files", chain, files))
	return []answers.Disk{{Chain: []identity.Link{}, Overlay: layers.Overlay{Point: "/"}}}, o.err
}

var status = Status{Version: "v1", PID: 42, Started: time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)}

// serve answers on a socket until the test ends.
func serve(t *testing.T, q Querier) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "run", "eyas.sock")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: Handler(q, status, zerolog.Nop()), ReadHeaderTimeout: 5 * time.Second}
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

func dial(t *testing.T, socket string) *Client {
	t.Helper()
	c, got, err := Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	same(t, "status", status, got)
	return c
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// The client asks what was meant and returns what was answered.
func TestRoundTrip(t *testing.T) {
	o := &oracle{n: 3}
	c := dial(t, serve(t, o))
	ctx, at := t.Context(), time.Date(2026, 1, 31, 3, 0, 0, 1, time.FixedZone("", 3600))
	chain := "web/ \"&=?#\n\x00\xff▸"
	uid := uint32(identity.NoID)
	for _, tc := range []struct {
		asked string
		ask   func() (any, error)
		want  any
	}{
		{"pid 4294967295", func() (any, error) { return c.PID(ctx, identity.NoID) },
			identity.Identity{Host: identity.Host{PID: identity.NoID}, Command: "sh \x1b[2J\u202e\n"}},
		{fmt.Sprintf("pid 7 in %q", chain), func() (any, error) { return c.InnerPID(ctx, chain, 7) }, identity.Identity{}},
		{fmt.Sprintf("id %+v", answers.IDQuery{ID: uid, GID: true, In: "a b", At: at}), func() (any, error) {
			return c.ID(ctx, answers.IDQuery{ID: uid, GID: true, In: "a b", At: at})
		}, identity.IDAnswer{Kind: "uid", ID: &uid, Owners: []identity.IDOwner{}}},
		{fmt.Sprintf("id %+v", answers.IDQuery{ID: uid}), func() (any, error) { return c.ID(ctx, answers.IDQuery{ID: uid}) },
			identity.IDAnswer{Kind: "uid", ID: &uid, Owners: []identity.IDOwner{}}},
		{fmt.Sprintf("ps %q", chain), func() (any, error) {
			var got []identity.HostPID
			err := c.PS(ctx, chain, func(id identity.Identity) error { got = append(got, id.PPID); return nil })
			return got, err
		}, []identity.HostPID{0, 1, 2}},
		{"tree", func() (any, error) { return c.Tree(ctx) },
			[]identity.TreeNode{{Link: identity.Link{ID: "a"}, Children: []identity.TreeNode{{Link: identity.Link{ID: "b"}}}}}},
		{fmt.Sprintf(`oom %q since %d`, chain, at.UnixNano()), func() (any, error) { return c.OOM(ctx, chain, at) },
			[]identity.OOMAnswer{{By: 7, Victims: []identity.OOMVictimAnswer{}, Limit: identity.OOMLimitAnswer{Chain: []identity.OOMLink{}}}}},
		{`oom "" since 0`, func() (any, error) { return c.OOM(ctx, "", time.Time{}) },
			[]identity.OOMAnswer{{By: 7, Victims: []identity.OOMVictimAnswer{}, Limit: identity.OOMLimitAnswer{Chain: []identity.OOMLink{}}}}},
		{fmt.Sprintf("stats %q", chain), func() (any, error) { return c.Stats(ctx, chain) }, stats},
		{fmt.Sprintf("disks %q, 7 files", chain), func() (any, error) { return c.Disks(ctx, chain, 7) },
			[]answers.Disk{{Chain: []identity.Link{}, Overlay: layers.Overlay{Point: "/"}}}},
		{fmt.Sprintf("denials %+v", answers.DenialQuery{Chain: chain}), func() (any, error) { return c.Denials(ctx, answers.DenialQuery{Chain: chain}) },
			[]identity.DenialAnswer{{Op: "chown", Comm: "\x1b[2J", PIDs: []identity.PID{7}, Chain: []identity.Link{}}}},
		{fmt.Sprintf("denials %+v", answers.DenialQuery{PID: identity.NoID}), func() (any, error) { return c.Denials(ctx, answers.DenialQuery{PID: identity.NoID}) },
			[]identity.DenialAnswer{{Op: "chown", Comm: "\x1b[2J", PIDs: []identity.PID{7}, Chain: []identity.Link{}}}},
		{fmt.Sprintf("logs %+v", lines), func() (any, error) {
			var got []identity.LogAnswer
			err := c.Lines(ctx, lines, func(l identity.LogAnswer) error { got = append(got, l); return nil })
			return got, err
		}, []identity.LogAnswer{{Body: "\x1b[2J", Raw: []byte("\xff"), PIDs: []identity.PID{7}, Chain: []identity.Link{}}}},
		{`map "x"`, func() (any, error) { return c.Map(ctx, "x") }, []identity.NSAnswer{{UserNS: 7, Containers: []string{}}}},
	} {
		got, err := tc.ask()
		if err != nil || o.asked != tc.asked {
			t.Errorf("%s: asked %s: %v", tc.asked, o.asked, err)
		}
		same(t, tc.asked, tc.want, got)
	}
}

// Errors arrive with their text and as what they are.
func TestErrors(t *testing.T) {
	o := &oracle{}
	c := dial(t, serve(t, o))
	for _, kind := range []error{answers.ErrNotFound, identity.ErrNoContainer, identity.ErrAmbiguous, answers.ErrNoDenials, errors.New("no \x1b[2J memory")} {
		o.err = fmt.Errorf("pid 7: %w", kind)
		_, e1 := c.PID(t.Context(), 7)
		_, e2 := c.InnerPID(t.Context(), "x", 7)
		_, e3 := c.ID(t.Context(), answers.IDQuery{})
		_, e4 := c.Tree(t.Context())
		_, e5 := c.Map(t.Context(), "")
		e6 := c.PS(t.Context(), "", func(identity.Identity) error { return nil })
		_, e7 := c.OOM(t.Context(), "", time.Time{})
		_, e8 := c.Stats(t.Context(), "x")
		_, e9 := c.Disks(t.Context(), "", 0)
		_, e10 := c.Denials(t.Context(), answers.DenialQuery{})
		for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, e8, e9, e10} {
			known := !strings.Contains(kind.Error(), "memory")
			if err == nil || err.Error() != o.err.Error() || errors.Is(err, kind) != known {
				t.Errorf("%d: %v: %v", i, kind, err)
			}
		}
	}
}

// How many files are wanted is a number.
func TestDisksRefuses(t *testing.T) {
	o := &oracle{}
	c := dial(t, serve(t, o))
	if _, err := c.Disks(t.Context(), "", -1); err == nil || !strings.Contains(err.Error(), "files: want a number") || o.asked != "" {
		t.Errorf("asked %q: %v", o.asked, err)
	}
}

// A list that the agent cannot finish is an error, never a short list.
func TestCutOff(t *testing.T) {
	stop := errors.New("enough")
	ask := func(o *oracle, err error) (got int, _ error) {
		perr := dial(t, serve(t, o)).PS(t.Context(), "", func(identity.Identity) error { got++; return err })
		return got, perr
	}
	for _, n := range []int{1, 2000} {
		if _, err := ask(&oracle{n: n, cut: errors.New("gone")}, nil); err == nil {
			t.Errorf("cut after %d processes, and no error", n)
		}
	}
	if _, err := ask(&oracle{n: 2000}, stop); !errors.Is(err, stop) {
		t.Errorf("the caller's own error: %v", err)
	}
	for _, n := range []int{0, 2000} {
		if got, err := ask(&oracle{n: n}, nil); err != nil || got != n {
			t.Errorf("%d of %d: %v", got, n, err)
		}
	}
}

// Who does not answer, or not as an agent, is told from an agent that is down.
func TestDial(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err == nil {
		l.SetUnlinkOnClose(false)
		err = l.Close()
	}
	if err := errors.Join(err, os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{filepath.Join(dir, "none"), file, stale} {
		c, _, err := Dial(t.Context(), socket)
		if !errors.Is(err, ErrDown) || !strings.Contains(err.Error(), socket) || c != nil {
			t.Errorf("%s: %v, %v", socket, c, err)
		}
	}
	for name, answer := range map[string]string{
		"silent": "", "no http": "hello\n", "no json": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n<", "short": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
		"no failure": "HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\n<", "endless": "HTTP/1.1 500 Oops\r\n\r\n{\"error\":\"" + strings.Repeat("x", 2<<20) + `"}`, "reset": "-",
	} {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if answer != "-" {
					_, _ = c.Read(make([]byte, 4096))
					_, _ = c.Write([]byte(answer)) // the client may have gone
				}
				c.Close()
			}
		}()
		if c, _, err := Dial(t.Context(), socket); err == nil || errors.Is(err, ErrDown) || len(err.Error()) > 300 {
			t.Errorf("%s: %v, %v", name, c, err)
		}
		l.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Dial(ctx, serve(t, &oracle{})); !errors.Is(err, context.Canceled) || errors.Is(err, ErrDown) {
		t.Errorf("cancelled: %v", err)
	}
}

// The socket is root's alone; a stale one is replaced, anything else is not.
func TestListen(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "run", "eyas.sock")
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	if got := syscall.Umask(0); got != 0 {
		t.Errorf("umask is %o afterwards", got)
	}
	for path, want := range map[string]os.FileMode{socket: 0o600 | os.ModeSocket, filepath.Dir(socket): 0o700 | os.ModeDir} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if _, err := Listen(socket); err == nil || !strings.Contains(err.Error(), "another eyas agent answers there") || !strings.Contains(err.Error(), socket) {
		t.Errorf("in use: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if l, err = Listen(socket); err != nil {
		t.Fatalf("stale: %v", err)
	}
	l.Close()

	file := filepath.Join(dir, "file")
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "is no socket", link: "is no socket", dir: "is no socket", file + "/s": "create socket directory",
		filepath.Join(dir, strings.Repeat("x", 120)): "choose another with --socket",
	} {
		if l, err := Listen(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--socket") {
			t.Errorf("%s: %v, %v, want %q", path, l, err, want)
		}
	}
	if b, err := os.ReadFile(link); err != nil || string(b) != "x" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}
