package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

// agent is an agent whose answers a test writes.
type agent struct {
	lines   []identity.LogAnswer
	id      identity.Identity
	owner   identity.IDAnswer
	tree    []identity.TreeNode
	maps    []identity.NSAnswer
	kills   []identity.OOMAnswer
	stats   []identity.StatsRow
	disks   []answers.Disk
	denials []identity.DenialAnswer
	err     error
	asked   string
	traced  atomic.Int32            // traces that are on
	begun   atomic.Int32            // and that were
	missing map[string]string       // of a trace
	later   []identity.DenialAnswer // instead of denials, since the second question of a trace
}

func (a *agent) PID(_ context.Context, pid identity.HostPID) (identity.Identity, error) {
	a.asked = fmt.Sprintf("pid %d", pid)
	return a.id, a.err
}

func (a *agent) InnerPID(_ context.Context, chain string, pid identity.PID) (identity.Identity, error) {
	a.asked = fmt.Sprintf("pid %d in %q", pid, chain)
	return a.id, a.err
}

func (a *agent) ID(_ context.Context, q answers.IDQuery) (identity.IDAnswer, error) {
	a.asked = fmt.Sprintf("gid %v %d in %q at %d", q.GID, q.ID, q.In, max(0, q.At.Unix()))
	return a.owner, a.err
}

func (a *agent) PS(_ context.Context, chain string, yield func(identity.Identity) error) error {
	a.asked = fmt.Sprintf("ps %q", chain)
	if a.err != nil {
		return a.err
	}
	return yield(a.id)
}

func (a *agent) Tree(context.Context) ([]identity.TreeNode, error) { return a.tree, a.err }

func (a *agent) Map(_ context.Context, chain string) ([]identity.NSAnswer, error) {
	a.asked = fmt.Sprintf("map %q", chain)
	return a.maps, a.err
}

func (a *agent) OOM(_ context.Context, chain string, since time.Time) ([]identity.OOMAnswer, error) {
	a.asked = fmt.Sprintf("oom %q since %d", chain, max(0, since.Unix()))
	return a.kills, a.err
}

func (a *agent) Stats(_ context.Context, chain string) ([]identity.StatsRow, error) {
	a.asked = fmt.Sprintf("stats %q", chain)
	return a.stats, a.err
}

func (a *agent) Disks(_ context.Context, chain string, files int) ([]answers.Disk, error) {
	a.asked = fmt.Sprintf("disks %q, %d files", chain, files)
	return a.disks, a.err
}

func (a *agent) Denials(_ context.Context, q answers.DenialQuery) ([]identity.DenialAnswer, error) {
	a.asked = fmt.Sprintf("denials %+v", q)
	if a.traced.Load() > 0 && a.begun.Add(1) > 1 {
		return a.later, a.err
	}
	return a.denials, a.err
}

func (a *agent) Lines(_ context.Context, q answers.LogQuery, yield func(identity.LogAnswer) error) error {
	a.asked = fmt.Sprintf("logs %+v", q)
	for _, l := range a.lines {
		if err := yield(l); err != nil {
			return err
		}
	}
	return a.err
}

func (a *agent) TraceDenials(ctx context.Context, began func(map[string]string) error) error {
	if a.err != nil {
		return a.err
	}
	a.traced.Add(1)
	defer a.traced.Add(-1)
	if err := began(a.missing); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// serve answers on a socket until the test ends.
func serve(t testing.TB, a *agent) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "eyas.sock")
	l, err := api.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", api.Handler(a, api.Status{}, zerolog.Nop()))
	mux.HandleFunc(prepare.PathLeases, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
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

func run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	root := t.TempDir() // a machine without users, pods and processes
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o700); err != nil {
		t.Fatal(err)
	}
	return runIn(t, root, args...)
}

// runIn runs a command on a machine whose files are below root.
func runIn(t testing.TB, root string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), Env{Args: args, Stdout: &out, Stderr: &errs, Root: root})
	return code, out.String(), errs.String()
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func ptr[T any](v T) *T { return &v }

// sample is a process two containers deep; the inner one does not map its gid.
func sample(start time.Time) identity.Identity {
	return identity.Identity{
		State: "exited", Host: identity.Host{PID: 20671, UID: 200000, GID: 5, StartTime: start}, Command: "sleep 60\x1b[2J", Comm: "sl\neep",
		Exe: "/bin/\u202esleep", PPID: 9, LoginUID: ptr(uint32(1000)), Threads: 3, Cgroup: "/a\tb", FirstSeen: start, LastSeen: start, Escaped: true,
		Exit: &identity.Exit{Code: -1, Signal: 9, OOM: true}, PIDs: []identity.PID{20671, 7, 1},
		Chain: []identity.Link{
			{Kind: "node", ID: "ed5ed647", Name: "node1", Runtime: "host", PID: ptr(identity.PID(20671)), UID: ptr(identity.UID(200000)), GID: ptr(identity.GID(5)), PIDNS: 1, UserNS: 2},
			{Kind: "container", ID: "33e9d68c4816", Name: "dev\\box", Runtime: "podman", Image: "img:1", Level: 1, PID: ptr(identity.PID(7)), UID: ptr(identity.UID(0)), Unmapped: true, PIDNS: 3, UserNS: 4},
			{Kind: "container", ID: "393dc72765dc", Name: strings.Repeat("ä", 70), Level: 2, PID: ptr(identity.PID(1)), Unmapped: true, PIDNS: 5, UserNS: 6},
		},
		UserNSs: []identity.UserLevel{
			{UserNS: 2, UID: ptr(identity.UID(200000)), GID: ptr(identity.GID(5))}, {Level: 1, UserNS: 4, UID: ptr(identity.UID(0)), Unmapped: true},
		},
	}
}

func TestOutput(t *testing.T) {
	start := time.Now().Add(-90*time.Minute - 30*time.Second).UTC().Truncate(time.Second)
	a := &agent{
		id: sample(start),
		owner: identity.IDAnswer{Kind: "uid", ID: ptr(uint32(200000)), Note: "a\nb", Owners: []identity.IDOwner{
			{State: "live", Chain: sample(start).Chain, FirstSeen: start, LastSeen: start, Processes: []identity.HostPID{1, 2}, More: 3},
			{State: "gone", Chain: sample(start).Chain[:1], FirstSeen: start, LastSeen: start},
		}, MorePods: 2, Pods: []identity.IDPod{
			{PodUID: "2ff1", Namespace: "web", Pod: "db\x1b", State: "live", Range: "196608:65536", Inner: 3392, Boot: "b", From: start, LastSeen: start},
			{PodUID: "07aa", State: "gone", Range: "196608:65536", Inner: 3392, Boot: "b", From: start, LastSeen: start, GoneBy: start},
		}},
		tree: []identity.TreeNode{{Link: sample(start).Chain[1], InitPID: 5, Processes: 1, Zombies: 2, Peak: 3, Escaped: true, Cgroup: "/\x00", Children: []identity.TreeNode{
			{Link: sample(start).Chain[2], Processes: 2},
		}}},
		maps: []identity.NSAnswer{
			{UserNS: 4, Parent: 2, Level: 1, OwnerUID: 1000, OwnerGID: 1001, Mapped: true, Containers: []string{"x", "y"}, Processes: 2,
				UIDMap: []identity.Extent{{First: 0, Host: 5, Count: 1}, {First: 1, Host: 4294967290, Count: 4}}, HostUIDMap: identity.UIDMap{{Count: 1}},
				Overlaps: []identity.Shared{{With: 6, Kind: "uid", Host: 5, Count: 2}}},
			{UserNS: 6}, {UserNS: 7, Mapped: true, Partial: true},
		},
	}
	for range 5 {
		a.maps[0].GIDMap = append(a.maps[0].GIDMap, identity.Extent{First: 1, Host: 2, Count: 1})
		a.maps[0].Overlaps = append(a.maps[0].Overlaps, identity.Shared{With: 6, Kind: "gid", Host: 5, Count: 1})
	}
	socket := serve(t, a)
	for file, args := range map[string]string{
		"whois": "whois pid 1", "whois-wide": "whois pid 1 -o wide", "whois-json": "whois pid 1 -o json", "uid": "whois uid 1", "ps": "ps",
		"ps-wide": "ps -o wide", "tree": "tree", "tree-wide": "tree -o wide", "map": "map", "map-wide": "map -o wide",
	} {
		want, err := os.ReadFile(filepath.Join("testdata", file+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		code, out, errs := run(t, append(strings.Fields(args), "--socket", socket)...)
		same(t, args, string(want), strings.ReplaceAll(out, start.Format(time.RFC3339), "AT__________________"))
		same(t, args+": code, stderr", []any{0, ""}, []any{code, errs})
	}
	for _, args := range []string{"ps -o json", "whois uid 1 -o json", "tree -o json", "map -o json"} {
		_, out, _ := run(t, append(strings.Fields(args), "--socket", socket)...)
		want, got := map[byte]any{'p': []identity.Identity{a.id}, 'w': a.owner, 't': a.tree, 'm': a.maps}[args[0]], any(nil)
		switch args[0] {
		case 'p':
			got = decode[[]identity.Identity](t, out)
		case 'w':
			got = decode[identity.IDAnswer](t, out)
		case 't':
			got = decode[[]identity.TreeNode](t, out)
		default:
			got = decode[[]identity.NSAnswer](t, out)
		}
		same(t, args, want, got)
	}
}

func decode[T any](t testing.TB, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Error(err)
	}
	return v
}

func TestSmallTexts(t *testing.T) {
	var got []string
	for _, e := range []*identity.Exit{nil, {Code: 3}, {Code: -1, Signal: 15}, {Code: -1, Signal: 99}} {
		got = append(got, stateText(identity.Identity{State: "s", Exit: e}))
	}
	for _, s := range []string{"", "abc", "abcd", "äöüß", "\xff\xff\xff\xff"} {
		got = append(got, clip(s, 3))
	}
	for _, d := range []time.Duration{0, 59 * time.Second, 61 * time.Second, 3 * time.Hour, 47*time.Hour + time.Minute, 49 * time.Hour} {
		got = append(got, age(time.Now().Add(-d)))
	}
	one := uint32(1)
	got = append(got, age(time.Time{}), idText(&one), idText[uint32](nil), chainText(nil), linkText(identity.Link{Name: "n", Runtime: "host"}))
	same(t, "texts", []string{
		"s", "s with status 3", "s by signal SIGTERM", "s by signal 99", "", "abc", "abc…", "äöü…", "\xff\xff\xff…",
		"0s", "59s", "1m01s", "3h00m", "47h01m", "2d", "-", "1", "unmapped", "(host)", "n",
	}, got)
}

// What is asked is what was meant; what cannot be meant is a usage error, and
// everything that fails says why on one line of stderr.
func TestCalls(t *testing.T) {
	a := &agent{id: identity.Identity{PIDs: []identity.PID{1}, UserNSs: []identity.UserLevel{{}}}, owner: identity.IDAnswer{Kind: "gid", Inner: ptr(uint32(7)), In: "web"}}
	socket := serve(t, a)
	for _, tc := range []struct {
		args  []string
		err   error
		code  int
		asked string
		text  string // in stdout, or in stderr of what fails
	}{
		{args: []string{"whois", "pid", "7"}, asked: "pid 7", text: "pid 0"},
		{args: []string{"whois", "pid", "7", "--in", "a/b"}, asked: `pid 7 in "a/b"`, text: "pid 0"},
		{args: []string{"whois", "gid", "4294967295", "--in", "x", "--at", "1970-01-01T00:00:07Z"}, asked: `gid true 4294967295 in "x" at 7`, text: "gid 7 in web is unmapped"},
		{args: []string{"ps", "web"}, asked: `ps "web"`, text: "PID"},
		{args: []string{"oom", "web", "--since", "1970-01-01T00:00:07Z"}, asked: `oom "web" since 7`, text: "WHEN"},
		{args: []string{"oom", "-o", "json", "--since", "1970-01-01T00:00:00Z"}, asked: `oom "" since 0`, text: "null"},
		{args: []string{"oom", "x", "--since", "1970-01-01T00:00:00Z"}, err: fmt.Errorf("select: %w", identity.ErrNoContainer), code: 3, asked: `oom "x" since 0`, text: "no such container"},
		{args: []string{"oom", "--since", "lately"}, code: 2, text: "--since: want a time such as"},
		{args: []string{"map"}, asked: `map ""`, text: "USERNS"},
		{args: []string{"ps", "-o", "json"}, asked: `ps ""`, text: "[\n  {"},
		{args: []string{"version"}, text: "eyas devel\n"},
		{args: []string{daemon.SelfTestArg}},
		{args: nil, text: "Available Commands"},
		{args: []string{"whois", "pid", "7"}, err: fmt.Errorf("pid 7: %w", answers.ErrNotFound), code: 3, asked: "pid 7", text: "pid 7: not found"},
		{args: []string{"ps", "x"}, err: fmt.Errorf("select: %w", identity.ErrNoContainer), code: 3, asked: `ps "x"`, text: "no such container"},
		{args: []string{"map", "x"}, err: fmt.Errorf("select: %w", identity.ErrAmbiguous), code: 1, asked: `map "x"`, text: "more than one container"},
		{args: []string{"tree"}, err: errors.New("no\nway"), code: 1, text: `no\nway`},
		{args: []string{"whois", "uid", "7"}, err: errors.New("x"), code: 1, asked: `gid false 7 in "" at 0`, text: "x"},
		{args: []string{"ps", "-o", "json"}, err: errors.New("x"), code: 1, asked: `ps ""`, text: "x"},
		{args: []string{"whois", "pid", "-7"}, code: 2, text: "see eyas --help"},
		{args: []string{"whois", "pid", "x\x1b"}, code: 2, text: `want a number from 0 to 4294967295, got "x\\x1b"`},
		{args: []string{"whois", "pid", "4294967296"}, code: 2, text: "want a number"},
		{args: []string{"whois", "tid", "7"}, code: 2, text: `want pid, uid or gid, got "tid"`},
		{args: []string{"whois", "pid"}, code: 2, text: "eyas whois --help"},
		{args: []string{"whois", "pid", "7", "--at", "3h"}, code: 2, text: "--at goes with uid and gid"},
		{args: []string{"whois", "uid", "7", "--at", "soon"}, code: 2, text: "--at: want a time such as"},
		{args: []string{"ps", "-o", "xml"}, code: 2, text: `--output: want table, wide or json, got "xml"`},
		{args: []string{"tree", "x"}, code: 2, text: "eyas tree --help"},
		{args: []string{"tree", "--what"}, code: 2, text: "--what"},
		{args: []string{"agent", "--nice", "99"}, code: 2, text: `--nice: want a number from -20 to 19, got "99"`},
		{args: []string{"agent", "--config", "/nonexistent"}, code: 1, text: "read config: open /nonexistent"},
		{args: []string{"whoami\x1b"}, code: 2, text: "unknown command"},
	} {
		a.err, a.asked = tc.err, ""
		args := tc.args
		if len(args) > 0 && strings.Contains("whois ps tree map oom", args[0]) {
			args = append(args[:len(args):len(args)], "--socket", socket)
		}
		code, out, errs := run(t, args...)
		text := out
		if tc.code != 0 {
			text = errs
			if out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "eyas: ") || !printable(errs) {
				t.Errorf("%q: stdout %q, stderr %q", tc.args, out, errs)
			}
		}
		if code != tc.code || a.asked != tc.asked || !strings.Contains(text, tc.text) {
			t.Errorf("%q: exits with %d, asked %q, said %q; want %d, %q, %q", tc.args, code, a.asked, text, tc.code, tc.asked, tc.text)
		}
	}
}

// printable reports whether a terminal shows text as it is.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
}

// Times are absolute, local, or a duration ago.
func TestParseTime(t *testing.T) {
	for in, want := range map[string]time.Time{
		"": {}, "2026-01-31T03:00:00.5Z": time.Date(2026, 1, 31, 3, 0, 0, 5e8, time.UTC), "2026-01-31T03:00:00+01:00": time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC),
		"2026-01-31 03:00:00": time.Date(2026, 1, 31, 3, 0, 0, 0, time.Local), "3h": time.Now().Add(-3 * time.Hour), "-90m": time.Now().Add(-90 * time.Minute),
	} {
		got, err := parseTime("--at", in)
		if d := got.Sub(want).Abs(); err != nil || d > time.Minute {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
}
