//go:build host

package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestHostile gives containers comms, arguments, host names and cgroup names
// with newlines, escapes, invalid UTF-8, label injection and great lengths. No
// output may break, and no byte may be lost that the bounds allow.
func TestHostile(t *testing.T) {
	args := []string{"hostile"}
	if h, err := cgroups.Open("/proc"); err == nil {
		dir := filepath.Join(h.Mount(), fmt.Sprintf("eyas-test-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		args = append(args, "--cgroup", dir)
	}
	a := startAgent(t, "")
	s, ready := startStorm(t, args...)
	cases := 0
	for _, c := range ready.Containers {
		if c.Hostile == nil {
			continue
		}
		cases++
		out, stderr, code := a.eyas("whois", "pid", fmt.Sprint(c.HostPID), "-o", "json")
		if code != 0 {
			t.Errorf("case %s: %s", c.Hostile.Case, stderr)
			continue
		}
		checkPrintable(t, out)
		var id identity.Identity
		if err := json.Unmarshal([]byte(out), &id); err != nil {
			t.Errorf("case %s: %v", c.Hostile.Case, err)
			continue
		}
		if want := identity.Valid(string(c.Hostile.Comm)); id.Comm != want {
			t.Errorf("case %s: comm %q, want %q", c.Hostile.Case, id.Comm, want)
		}
		if len(c.Hostile.Cgroup) > 0 && !strings.Contains(id.Cgroup, identity.Valid(string(c.Hostile.Cgroup))) {
			t.Errorf("case %s: cgroup %q lacks %q", c.Hostile.Case, id.Cgroup, c.Hostile.Cgroup)
		}
		for _, form := range [][]string{
			{"whois", "pid", fmt.Sprint(c.HostPID)}, {"whois", "pid", fmt.Sprint(c.HostPID), "-o", "wide"},
		} {
			out, stderr, code := a.eyas(form...)
			if code != 0 {
				t.Errorf("case %s: %v: %s", c.Hostile.Case, form, stderr)
			}
			checkPrintable(t, out)
		}
	}
	if cases == 0 {
		t.Fatal("the storm made no hostile container")
	}
	live := len(nestedPIDs())
	for _, o := range []string{"table", "wide"} {
		out, stderr, code := a.eyas("ps", "-o", o)
		if code != 0 {
			t.Fatal(stderr)
		}
		checkPrintable(t, out)
		if n := strings.Count(out, "\n"); n < live/2 || n > 2*live+2 {
			t.Errorf("ps -o %s has %d lines for about %d processes", o, n, live)
		}
		for _, view := range []string{"tree", "map"} {
			out, stderr, code := a.eyas(view, "-o", o)
			if code != 0 {
				t.Fatal(stderr)
			}
			checkPrintable(t, out)
		}
	}
	out, stderr, code := a.eyas("ps", "-o", "json")
	if code != 0 {
		t.Fatal(stderr)
	}
	checkPrintable(t, out)
	var all []identity.Identity
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	a.families() // parses
	promtool(t, a.scrape())
	if err := s.Quit(); err != nil {
		t.Fatal(err)
	}
	// And what is remembered of the dead is as harmless.
	for _, c := range ready.Containers {
		out, stderr, code := a.eyas("whois", "pid", fmt.Sprint(c.HostPID))
		if code != 0 {
			t.Errorf("pid %d is forgotten: %s", c.HostPID, stderr)
		}
		checkPrintable(t, out)
	}
	checkQuiet(t, a)
}

// checkPrintable demands what a terminal may be given: lines of printable text.
func checkPrintable(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("invalid UTF-8 in %.200q", s)
	}
	for _, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q in %.200q", r, s)
			return
		}
	}
}

// promtool lints an exposition, where Prometheus' own tool is installed; the
// build machine has it, a guest need not.
func promtool(t *testing.T, text string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if errors.Is(err, exec.ErrNotFound) {
		if os.Getenv("EYAS_VM") == "" {
			t.Error("promtool is missing: run test/deps test")
		}
		return
	}
	cmd := exec.Command(path, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestLabelBounds keeps names from inside a sandbox short in labels.
func TestLabelBounds(t *testing.T) {
	a := startAgent(t, "")
	_, _ = startStorm(t, "hostile")
	for _, m := range a.families()["eyas_container_info"].GetMetric() {
		for _, l := range m.Label {
			if len(l.GetValue()) > 160 {
				t.Errorf("label %s has %d bytes", l.GetName(), len(l.GetValue()))
			}
		}
	}
	if diff := cmp.Diff([]string{}, unboundLabels(a)); diff != "" {
		t.Errorf("labels that hold a pid, uid or path (-want +got):\n%s", diff)
	}
}

// unboundLabels lists label names that could take any number of values.
func unboundLabels(a *agent) []string {
	bad := []string{}
	for name, f := range a.families() {
		if !strings.HasPrefix(name, "eyas_") {
			continue
		}
		for _, l := range f.Metric[0].Label {
			switch l.GetName() {
			case "pid", "uid", "gid", "path", "cgroup", "command":
				bad = append(bad, name+"/"+l.GetName())
			}
		}
	}
	return bad
}
