//go:build host

package kube

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// TestPluginFollow: what follows on a node ends there when its caller does.
func TestPluginFollow(t *testing.T) {
	s := newSite(t)
	s.make("team", "web", "node-1", "app", running("app", webID))
	ended := s.path("ended")
	s.script("node-1", `echo "$*"; cat >/dev/null; echo yes >`+ended)
	c := s.command("logs", "team/web", "-f")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "--end-with-stdin logs --follow=true -- "+webID+"\n" {
		t.Errorf("%q %v", line, err)
	}
	if _, err := os.Stat(ended); err == nil {
		t.Error("it has ended before its caller")
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("its caller: %v", err)
	}
	s.until("it has ended", func() bool {
		_, err := os.Stat(ended)
		return err == nil
	})
}

// terminal makes a terminal, and returns its two ends.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NONBLOCK, 0) // for deadlines
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// TestPluginTerminal: top gets the terminal, its sizes and its keys, also ^C, and gives
// it back as it was.
func TestPluginTerminal(t *testing.T) {
	s := newSite(t)
	s.make("team", "web", "node-1", "app", running("app", webID))
	s.kubelets["node-1"].tty = func(in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) error {
		for range 2 {
			size := <-resize
			fmt.Fprintf(out, "size %dx%d;", size.Width, size.Height)
		}
		key := make([]byte, 1)
		if _, err := io.ReadFull(in, key); err != nil {
			return err
		}
		fmt.Fprintf(out, "key %d;", key[0])
		return nil
	}
	master, slave := terminal(t)
	size := func(w, h uint16) {
		t.Helper()
		if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: w, Row: h}); err != nil {
			t.Fatal(err)
		}
	}
	size(100, 30)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	c := s.command("top", "team/web")
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer func() {
		_ = c.Process.Kill() // it has ended, if all is well
		<-done
	}()
	go func() { _ = c.Wait(); close(done) }()
	shown := &bytes.Buffer{}
	see := func(text string) {
		t.Helper()
		part := make([]byte, 256)
		for !strings.Contains(shown.String(), text) {
			if err := master.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			n, err := master.Read(part)
			if err != nil {
				t.Fatalf("never: %q: %v: %q", text, err, shown)
			}
			shown.Write(part[:n])
		}
	}
	see("size 100x30;")
	size(90, 20)
	see("size 90x20;")
	if _, err := master.Write([]byte{3}); err != nil { // ^C
		t.Fatal(err)
	}
	see("key 3;")
	<-done
	if code := c.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d: %q", code, shown)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is not as it was: %+v, before %+v; %v", after, before, err)
	}
}
