//go:build host

package doctor

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// watch has the container's root look for programs that it may open, until the
// returned function is called.
func (b *box) watch() (seen func() string) {
	b.t.Helper()
	c := exec.Command("nsenter", "--target", fmt.Sprint(b.pid), "--user", "--mount", "--pid", "--", "sh", "-c",
		`while :; do readlink /proc/[0-9]*/exe 2>/dev/null; done`)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := c.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.t.Fatal(err)
	}
	lines := map[string]bool{}
	started, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s := bufio.NewScanner(out)
		for first := true; s.Scan(); first = false {
			lines[s.Text()] = true
			if first {
				close(started)
			}
		}
	}()
	<-started
	return func() string {
		_ = unix.Kill(-c.Process.Pid, unix.SIGKILL) // may be dead
		<-done
		_ = c.Wait()
		return fmt.Sprint(lines)
	}
}

// kill kills the process of this test's that has a command line.
func (b *box) kill(args string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		if got, _ := os.ReadFile(path); string(got) != args {
			continue
		}
		var pid, parent int
		stat, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "stat"))
		_, after, _ := strings.Cut(string(stat), ") ")
		if _, err := fmt.Sscanf(after, "%c %d", new(rune), &parent); err != nil {
			continue
		}
		if _, err := fmt.Sscan(filepath.Base(filepath.Dir(path)), &pid); err != nil {
			continue
		}
		if grand := parentOf(parent); parent == os.Getpid() || grand == os.Getpid() {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				b.t.Error(err)
			}
			return
		}
	}
	b.t.Errorf("no process %q", args)
}

func parentOf(pid int) (parent int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	_, _ = fmt.Sscanf(after, "%c %d", new(rune), &parent)
	return parent
}

// filterProgram is this test's program where the container's root can run it,
// which installs a seccomp filter and runs its arguments.
func filterProgram(t *testing.T) string {
	t.Helper()
	dir := onDisk(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "filter")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path + " " + filterArg
}
