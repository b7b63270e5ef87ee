//go:build host

package host

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLogsFlood: of a container that writes more than it may, every byte is either told
// or counted as dropped.
func TestLogsFlood(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines")
	a := startAgent(t, "", "--logs", "all", "--logs-source", "kernel", "--logs-output", file, "--logs-rate", "64KiB", "--logs-burst", "256KiB")
	logHooks(t, a)
	_, out, errs := nestedShell(t, "echo begin; seq 1 200000; seq 1 20000 >&2; echo end")
	got := openLogged(t, file)
	got.wait(a, len(out)+len(errs))
	if got.dropped == 0 || got.told < 128<<10 || got.records == 0 {
		t.Errorf("%d bytes told and %d dropped in %d records, of %d", got.told, got.dropped, got.records, len(out)+len(errs))
	}
	if got.lines[0].Body != "begin" {
		t.Errorf("the first line is %q", got.lines[0].Body)
	}
}

// TestLogsMoved: what the kernel moves into a stream by itself is not told, and counted as
// dropped, to the byte.
func TestLogsMoved(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines")
	a := startAgent(t, "", "--logs", "all", "--logs-source", "kernel", "--logs-output", file)
	logHooks(t, a)
	all := flood(t, true, 0, "moved")[0]
	got := openLogged(t, file)
	got.wait(a, len(all))
	if len(all) != 2000+len("first\nlast\n") || got.dropped != 2000 || len(got.lines) != 2 || got.lines[1].Body != "last" || got.lines[1].DroppedBytes != 2000 {
		t.Errorf("%d bytes written, %d told and %d dropped: %+v", len(all), got.told, got.dropped, got.lines)
	}
}

// TestLogsChosen: only what a pattern names is told, and what is inside it from its first
// line on.
func TestLogsChosen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines")
	a := startAgent(t, "", "--logs", "chosen/*", "--logs-source", "kernel", "--logs-output", file, "--reconcile-interval", "1s")
	logHooks(t, a)
	run := func(name string) error {
		inner := fmt.Sprintf("echo first of %s; echo last", name)
		c := exec.Command("sh", "-c", fmt.Sprintf(`hostname %s
exec sh -c 'echo early
unshare --pid --fork sh -c "read x <go; echo late; exec unshare --pid --fork sh -c \"%s\""
'`, name, inner))
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL}
		c.Dir = t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(c.Dir, "go"), 0o600); err != nil {
			return err
		}
		var out strings.Builder
		c.Stdout = &out
		if err := c.Start(); err != nil {
			return err
		}
		// The container inside is known, and by now so is whether it is named.
		if err := a.settled(name); err != nil {
			return err
		}
		if out, err := exec.Command("sh", "-c", "echo go > "+filepath.Join(c.Dir, "go")).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if err := c.Wait(); err != nil {
			return err
		}
		if want := fmt.Sprintf("early\nlate\nfirst of %s\nlast\n", name); out.String() != want {
			return fmt.Errorf("wrote %q", out.String())
		}
		return nil
	}
	for _, name := range []string{"other", "chosen"} {
		if err := run(name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	got := openLogged(t, file)
	got.wait(a, len("late\nfirst of chosen\nlast\n"))
	var all []string
	for _, l := range got.lines {
		all = append(all, l.Body)
	}
	if s := strings.Join(all, ","); s != "late,first of chosen,last" {
		t.Errorf("told of %q", s)
	}
}

// settled waits until a container is known by its host name, with one inside, and until
// the agent has looked for patterns since.
func (a *agent) settled(name string) error {
	var known time.Time
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	return poll(ctx, a.done, func() error {
		nodes, err := a.Client.Tree(ctx)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			for _, c := range append(n.Children, n) {
				if c.Name == name && len(c.Children) > 0 && known.IsZero() {
					known = time.Now()
				}
			}
		}
		if known.IsZero() || time.Since(known) < 3*time.Second {
			return errors.New(name + " is not known")
		}
		return nil
	})
}
