//go:build host

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// topNest is a container with another one inside: three processes, and two.
const topNest = `sleep 1000 & sleep 1000 & exec unshare --pid --fork --kill-child sh -c "sleep 1000 & exec sleep 1000"`

// topRows returns the outer and the inner one's rows, as soon as they are as they
// stay.
func topRows(t *testing.T, a *agent) (outer, inner identity.StatsRow) {
	t.Helper()
	eventually(t, a, "eyas top tells of both containers", func() error {
		all := ask[[]identity.StatsRow](t, a, "top")
		for _, inner = range all {
			for _, outer = range all {
				if inner.Name == "sleep" && inner.Parent == outer.ID && strings.Contains(outer.Name, "limits") && outer.Processes == 3 && inner.Processes == 2 &&
					outer.Execs == 5 && inner.Execs == 3 {
					return nil
				}
			}
		}
		return fmt.Errorf("%+v", all)
	})
	return outer, inner
}

// TestTop holds a row of eyas top against what was started, and against the series.
func TestTop(t *testing.T) {
	path, have := cgroupOfOwn(t, map[string]string{"pids.max": "123", "memory.max": "33554432"})
	a := startAgent(t, "")
	nestedIn(t, path, topNest)
	outer, inner := topRows(t, a)
	if outer.Threads != 3 || inner.Threads != 2 || outer.Zombies+inner.Zombies != 0 || inner.Level != outer.Level+1 {
		t.Errorf("%+v\n%+v", outer, inner)
	}
	f := a.families()
	for name, n := range map[string][2]uint64{"forks": {outer.Forks, inner.Forks}, "exec": {outer.Execs, inner.Execs}} {
		name = "eyas_container_" + name + "_total"
		both, one := total(f, name, "container", outer.ID), total(f, name, "nested", inner.ID)
		if both != float64(n[0]+n[1]) || one != float64(n[1]) || n[0] == 0 || n[1] == 0 {
			t.Errorf("%s is %v, of the inner one %v, and eyas top says %d", name, both, one, n)
		}
	}
	if inner.PIDs != nil || inner.Memory != nil {
		t.Errorf("the inner one has no cgroup of its own: %+v", inner)
	}
	var pids *identity.StatsUse
	if have["pids"] {
		limit := uint64(123)
		pids = &identity.StatsUse{Current: 3 + 2 + 1, Max: &limit} // and unshare
	}
	if d := cmp.Diff(pids, outer.PIDs); d != "" {
		t.Errorf("pids (-want +got):\n%s", d)
	}
	if m := outer.Memory; (m != nil) != have["memory"] || m != nil && (m.Current == 0 || *m.Max != 33554432) {
		t.Errorf("memory %+v", m)
	}
	if rows := ask[[]identity.StatsRow](t, a, "top", inner.ID); len(rows) != 1 || rows[0].ID != inner.ID || rows[0].Since != inner.Since || !rows[0].Time.After(inner.Time) {
		t.Errorf("of the inner one: %+v", rows)
	}
	stdout, stderr, code := a.eyas("top", outer.ID, "--interval", "300ms")
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 3 || !strings.Contains(stdout, "\n"+outer.Name+" ▸ sleep   2 ") {
		t.Errorf("a table of %q: exits with %d, %s%q", outer.Name, code, stderr, stdout)
	}
	a.Stop()
	if stdout, stderr, code = a.eyas("top"); code != 1 || stdout != "" || !strings.Contains(stderr, "top needs a running agent") {
		t.Errorf("without an agent: exits with %d, %s%s", code, stderr, stdout)
	}
}

// termios is how a terminal is set.
func termios(t *testing.T, tty *os.File) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

// TestTopOnATerminal watches a container on a terminal of 80 by 24, which is as it
// was after q, and after signals.
func TestTopOnATerminal(t *testing.T) {
	path, _ := cgroupOfOwn(t, nil)
	a := startAgent(t, "")
	nestedIn(t, path, topNest)
	topRows(t, a)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	// The end of its chain, two processes, no limits of its own, and a rate.
	row := regexp.MustCompile(`(?m)^.*▸ sleep +2 +- +0 `)
	for name, end := range map[string]func(terminal io.Writer, p *os.Process) error{
		"q":       func(w io.Writer, _ *os.Process) error { _, err := io.WriteString(w, "q"); return err },
		"SIGTERM": func(_ io.Writer, p *os.Process) error { return p.Signal(syscall.SIGTERM) },
		"SIGHUP":  func(_ io.Writer, p *os.Process) error { return p.Signal(syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			master, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			defer tty.Close()
			if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
				t.Fatal(err)
			}
			before := termios(t, tty)
			var screen lockedBuffer
			go func() { _, _ = io.Copy(&screen, master) }() // until it is closed
			c := exec.Command(bin, "top", "--socket", a.Socket, "--interval", "300ms")
			c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
			c.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8")
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- c.Wait() }()
			defer func() { _ = c.Process.Kill() }() // has ended
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := poll(ctx, a.done, func() error {
				s := screenOf(screen.String())
				if !row.MatchString(s) {
					return fmt.Errorf("on the screen:\n%s", s)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if termios(t, tty) == before {
				t.Error("the terminal still waits for whole lines")
			}
			if err := end(master, c.Process); err != nil {
				t.Fatal(err)
			}
			select {
			case err = <-done:
			case <-ctx.Done():
				err = errors.New("it does not end")
			}
			if err != nil {
				t.Fatalf("%v: %q", err, screen.String())
			}
			if d := cmp.Diff(before, termios(t, tty)); d != "" {
				t.Errorf("settings of the terminal (-before +after):\n%s", d)
			}
			// The old screen, and a cursor.
			if err := poll(ctx, nil, func() error {
				for _, pair := range [][2]string{{"\x1b[?1049h", "\x1b[?1049l"}, {"\x1b[?25l", "\x1b[?25h"}} {
					if s := screen.String(); strings.LastIndex(s, pair[1]) < strings.LastIndex(s, pair[0]) || !strings.Contains(s, pair[0]) {
						return fmt.Errorf("no %q at the end of %q", pair[1], s)
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
