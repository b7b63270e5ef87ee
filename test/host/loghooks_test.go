//go:build host

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/logs"
	"github.com/eyas-agent/eyas/exporter/api"
)

// driveLogs does what the log programs are on.
var driveLogs = logs.Drive(func() error { return exec.Command("/bin/true").Run() })

// TestLogHooks loads, attaches and drives every log program, and has one tell
// what the first process of a pid namespace writes, from its first byte on.
func TestLogHooks(t *testing.T) {
	m, err := bpf.OpenLogs(bpf.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Attach()
	m.SelfTest(driveLogs)
	for _, h := range m.Hooks() {
		if lockdown, _ := os.ReadFile("/sys/kernel/security/lockdown"); strings.Contains(string(lockdown), "[confidentiality]") {
			if h.State != bpf.HookMissing || !strings.Contains(h.Reason, "lockdown=confidentiality") && !strings.Contains(h.Reason, "not permitted") && h.Name != "logs_each" {
				t.Errorf("under lockdown %s is %s: %s", h.Name, h.State, h.Reason)
			}
			continue
		}
		if strings.Contains(h.Reason, "operation not permitted") && os.Getenv("EYAS_VM") == "" {
			t.Skip("this kernel refuses trampolines: " + h.Reason)
		}
		if h.State != bpf.HookActive && (!h.Rare || h.State != bpf.HookUnproven) {
			t.Errorf("%s (%s): %s: %s", h.Name, h.Target, h.State, h.Reason)
		}
	}
	if t.Failed() || !m.Attached() {
		return
	}
	// What a program on the end of a task waits for comes some moments after it.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, nil, func() error {
		for _, h := range m.Hooks() {
			if h.State != bpf.HookActive {
				return fmt.Errorf("%s (%s): %s: %s", h.Name, h.Target, h.State, h.Reason)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	told := func(all bpf.LogSelection) (out, errs string) {
		t.Helper()
		if err := m.SelectAll(all); err != nil {
			t.Fatal(err)
		}
		c := exec.Command("sh", "-c", "echo first; echo wrong >&2; busybox printf 'one\\n'; exec >/dev/null; echo gone; (echo x | cat)")
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		var b, e strings.Builder
		c.Stdout, c.Stderr = &b, &e
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		if b.String() != "first\none\n" || e.String() != "wrong\n" {
			t.Fatalf("the shell wrote %q and %q", b.String(), e.String())
		}
		if err := m.Read(time.Now(), func(l *bpf.Log) bool {
			if l.FD == bpf.LogStdout {
				out += string(l.Data)
			} else {
				errs += string(l.Data)
			}
			if l.Levels != 2 || len(l.PIDs) != 2 || l.PIDs[0] != l.PID || l.PIDs[1] == 0 || l.Dropped.Bytes != 0 {
				t.Errorf("record %+v", l)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return out, errs
	}
	if out, errs := told(0); out+errs != "" {
		t.Errorf("told of a container that was not selected: %q %q", out, errs)
	}
	if out, errs := told(bpf.LogInside); out+errs != "" {
		t.Errorf("told of an outermost container: %q %q", out, errs)
	}
	if out, errs := told(bpf.LogSelf); out != "first\none\n" || errs != "wrong\n" {
		t.Errorf("told of %q and %q", out, errs)
	}
}

// logHooks waits until the programs were tried, and skips where there are none.
func logHooks(t testing.TB, a *agent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var state string
	if err := poll(ctx, a.done, func() error {
		h, err := a.Client.Health(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(h.Hooks, func(k api.Hook) bool { return strings.HasPrefix(k.Name, "logs_") }) {
			return errors.New("no log hooks yet")
		}
		for _, k := range h.Hooks {
			if !strings.HasPrefix(k.Name, "logs_") {
				continue
			}
			if strings.Contains(k.Reason, "not attached yet") || k.Reason == "not driven" || k.State == "unproven" {
				return errors.New(k.Name + " waits")
			}
			if state = k.State + ": " + k.Reason; strings.Contains(state, refused) {
				return nil
			}
			if k.State != "active" {
				t.Errorf("%s is %s", k.Name, state)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(state, refused) {
		_, stderr, code := a.eyas("logs")
		if code != 1 || !strings.Contains(stderr, "logs of containers are not known here: missing: load: operation not permitted") {
			t.Errorf("eyas logs says %d: %s", code, stderr)
		}
		if n := strings.Count(a.log.String(), "logs of nested containers cannot be told here"); n != 1 {
			t.Errorf("the agent says %d times that it cannot tell of logs", n)
		}
		if f := a.families(); f["eyas_log_lines_total"] != nil {
			t.Error("log series without hooks")
		}
		t.Skip("this kernel refuses trampolines, and the agent says so: " + state)
	}
}

// near shows where a text departs from the one that is most like it.
func near(want string, all map[string]string) string {
	best := ""
	most := -1
	for _, s := range all {
		n := 0
		for n < len(s) && n < len(want) && s[n] == want[n] {
			n++
		}
		if n > most {
			most, best = n, fmt.Sprintf("alike for %d of %d bytes, then %q, want %q", n, len(s), s[n:min(n+60, len(s))], want[n:min(n+60, len(want))])
		}
	}
	return best
}
