//go:build host

package host

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLogsNoExec: the streams of a container whose first process never begins a program
// are found some seconds after its birth.
func TestLogsNoExec(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines")
	a := startAgent(t, "", "--logs", "all", "--logs-source", "kernel", "--logs-output", file)
	logHooks(t, a)
	// The shell's first child is the first process of the namespace: a subshell.
	c := exec.Command("unshare", "--pid", "bash", "-c", "exec 3<&0; (while :; do echo tick; read -t 1 x <&3; [ $? -gt 128 ] || exit; done) & wait")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe() // nothing comes: a read is a rest, until it is closed
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	c.Stdout = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
	got := openLogged(t, file)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, a.done, func() error {
		if got.read(); got.told < 2*len("tick\n") {
			return errors.New("no line is told")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range got.text {
		if strings.Trim(s.String(), "tick\n") != "" || len(got.text) != 1 {
			t.Errorf("told of %d streams: %q", len(got.text), s.String())
		}
	}
}
