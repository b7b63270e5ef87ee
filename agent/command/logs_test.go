package command

import (
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func TestLogs(t *testing.T) {
	uid := identity.UID(0)
	chain := []identity.Link{{Kind: "node", Name: "n"}, {Kind: "container", ID: "aaaaaaaaaaaa", Name: "w\x1beb", Runtime: "podman"}}
	a := &agent{lines: []identity.LogAnswer{
		{Time: "2026-01-02T03:04:05.123456789Z", Stream: "stdout", Body: "a\x1b[2J\u202e", Chain: chain, PID: 7, PIDs: []identity.PID{7, 1}, InnerUID: &uid, Comm: "s\nh"},
		{Time: "2026-01-02T03:04:06Z", Stream: "stderr", Body: `x\xff`, Raw: []byte("x\xff"), Partial: true, Chain: chain, DroppedRecords: 2, DroppedBytes: 30},
		{Time: "2026-01-02T03:04:06Z", Stream: "stderr", Partial: true, Chain: chain, DroppedRecords: 1, DroppedBytes: 5},
	}}
	socket := serve(t, a)
	run := func(want int, args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if code := Main(t.Context(), Env{Args: append(args, "--socket", socket), Stdout: &out, Stderr: &errs}); code != want {
			t.Errorf("%v: exit code %d: %s", args, code, errs.String())
		}
		return out.String()
	}
	want := `2026-01-02T03:04:05.123Z podman:w\x1beb stdout a\x1b[2J\u202e
2026-01-02T03:04:06.000Z podman:w\x1beb stderr -- 30 bytes of 2 writes are missing here: the container wrote too fast --
2026-01-02T03:04:06.000Z podman:w\x1beb stderr x\xff\
2026-01-02T03:04:06.000Z podman:w\x1beb stderr -- 5 bytes of 1 writes are missing here: the container wrote too fast --
`
	if got := run(exitOK, "logs", "web", "--stream", "stderr"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !strings.HasPrefix(a.asked, "logs {Chain:web Stream:stderr Since:0001") {
		t.Error(a.asked)
	}
	if got := run(exitOK, "logs", "-o", "wide"); !strings.Contains(got, `stdout s\nh pid 7 (inside 1) uid 0 (inside 0) a`) {
		t.Error(got)
	}
	if got := run(exitOK, "logs", "-o", "json", "--follow"); strings.Count(got, "\n") != 3 || strings.ContainsAny(got, "\x1b\u202e") || !strings.Contains(got, `"raw":"eP8="`) {
		t.Error(got)
	}
	run(exitUsage, "logs", "--stream", "stdin")
	run(exitUsage, "logs", "a", "b")
}
