package enter

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// A shell makes of each quoted word what it was, and a terminal shows it as one.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{
		"", "sh", "a b", "it's", "$(reboot)`x`\"", "\x1b]0;owned\a", "a\nb", "end\n\n", "\n", "\u202egnp", "\xff\xfe", `\n%s%%`, "-n", "~", "#", "ä ▸", "\u00a0",
		"/sys/fs/cgroup/x'\x1b[2J\\033", "a=b", "*", "\x7f", "\U000e0001",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) || len(s) > 8<<10 {
			t.Skip("no argument of a program")
		}
		q := Quote(s)
		for _, r := range q {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%q shows %q", s, r)
			}
		}
		for _, shell := range []string{"sh", "bash"} {
			out, err := exec.Command(shell, "-c", "printf %s. "+q).Output()
			if err != nil || string(out) != s+"." {
				t.Errorf("%s: %q became %s, which is %q, %v", shell, s, q, out, err)
			}
		}
	})
}

// The script says what goes wrong, in a shell, and does nothing then.
func TestScript(t *testing.T) {
	p := Plan{PID: identity.HostPID(os.Getpid()), StartTicks: 1, Argv: []string{"nsenter"}}
	run := func(p Plan, env ...string) (string, int) {
		c := exec.Command("/bin/sh", "-c", p.Script()+"\nexit $?")
		c.Env = append(os.Environ(), env...)
		out, err := c.CombinedOutput()
		if err == nil {
			t.Errorf("it says nothing is wrong: %s", out)
		}
		return string(out), c.ProcessState.ExitCode()
	}
	if out, code := run(p); code != 1 || !strings.Contains(out, "is another process by now") {
		t.Errorf("other start time: %d %s", code, out)
	}
	target := startOf(t)
	p.StartTicks = target
	missing := t.TempDir()
	for _, tool := range []string{"tr", "sed", "cut"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(missing, tool)); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := run(p, "PATH="+missing); code != 127 || !strings.Contains(out, "install util-linux") {
		t.Errorf("no nsenter: %d %s", code, out)
	}
	p.Cgroups = []string{filepath.Join(missing, "it's gone")}
	if out, code := run(p); code != 1 || !strings.Contains(out, "it's gone") {
		t.Errorf("no cgroup: %d %s", code, out)
	}
	p.PID = 1<<31 - 1
	if out, code := run(p); code != 1 || !strings.Contains(out, "/proc/2147483647") {
		t.Errorf("no process: %d %s", code, out)
	}
}

// startOf reads the start time of this process.
func startOf(t *testing.T) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	if _, err := fmt.Sscan(strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))[19], &n); err != nil {
		t.Fatal(err)
	}
	return n
}
