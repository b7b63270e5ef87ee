package command

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Without a terminal one table of rates is printed, in JSON counters; a call that
// cannot be meant is refused, and so is one without an agent.
func TestTop(t *testing.T) {
	n, share := uint64(100), 1.5
	since := time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)
	a := &agent{stats: []identity.StatsRow{
		{Time: since, Since: since, ID: "33e9d68c4816", Name: "dev\x1b[2J", Level: 1, Processes: 1, Threads: 2, Forks: 7,
			PIDs: &identity.StatsUse{Current: 3, Max: &n}, Memory: &identity.StatsUse{Current: 1 << 20}, Pressure: &identity.StatsPressure{CPU: &share}},
		{Time: since, Since: since, ID: "393dc72765dc", Parent: "33e9d68c4816", Name: "sleep", Level: 2, Processes: 2, Overlay: &identity.StatsOverlay{Read: 5}, Denials: &n},
	}}
	socket := serve(t, a)
	for args, want := range map[string]string{
		"top --interval 100ms": `NAME                 PROC   PIDS    FORK/S   DENY/S   READ/S   WRITE/S   COPY/S   MEM        PSI C/M/I
dev\x1b[2J           1      3/100   -        -        -        -         -        1.0M/max   2/-/-
dev\x1b[2J ▸ sleep   2      -       -        -        -        -         -        -          -
`,
		"top dev --once -o wide --interval 100ms": `NAME                 PROC   PIDS    FORK/S   DENY/S   READ/S   WRITE/S   COPY/S   MEM        PSI C/M/I   THR   ZOMB   ID
dev\x1b[2J           1      3/100   -        -        -        -         -        1.0M/max   2/-/-       2     0      33e9d68c4816
dev\x1b[2J ▸ sleep   2      -       -        -        -        -         -        -          -           0     0      393dc72765dc
`,
	} {
		code, out, errs := run(t, append(strings.Fields(args), "--socket", socket)...)
		same(t, args, []any{0, want, ""}, []any{code, out, errs})
		chain := strings.TrimPrefix(strings.Fields(args)[1], "--interval")
		same(t, args, fmt.Sprintf("stats %q", chain), a.asked)
	}
	code, out, errs := run(t, "top", "-o", "json", "--interval", "1h", "--socket", socket)
	same(t, "json", []any{0, "", a.stats}, []any{code, errs, decode[[]identity.StatsRow](t, out)})

	for args, want := range map[string]string{
		"top --interval 99ms": `--interval: want 100ms to 1h, got "99ms"`, "top --interval 61m": `--interval: want 100ms to 1h, got "1h1m0s"`,
		"top --interval x": "invalid argument", "top a b": "accepts at most 1 arg(s)", "top -o yaml": "--output: want table, wide or json",
	} {
		if code, out, errs := run(t, append(strings.Fields(args), "--socket", socket)...); code != exitUsage || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: %d, %q, %q", args, code, out, errs)
		}
	}
	a.err = identity.ErrNoContainer
	if code, out, errs := run(t, "top", "x", "--socket", socket); code != exitNotFound || out != "" || errs != "eyas: no such container\n" {
		t.Errorf("of nobody: %d, %q, %q", code, out, errs)
	}
	none := filepath.Join(t.TempDir(), "none")
	for _, args := range []string{"top", "top -o json", "top --once"} {
		code, out, errs := run(t, append(strings.Fields(args), "--socket", none)...)
		if code != exitFailed || out != "" || !strings.HasPrefix(errs, "eyas: no eyas agent answers on "+none) || !strings.Contains(errs, "top needs a running agent") {
			t.Errorf("%s without an agent: %d, %q, %q", args, code, out, errs)
		}
	}
}
