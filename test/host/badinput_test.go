//go:build host

package host

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBadInput: one clear line that names what is wrong and the fix, and a
// non-zero exit; never a start with half of what was asked for.
func TestBadInput(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	running := startAgent(t, "")

	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	state, socket := filepath.Join(dir, "state"), filepath.Join(dir, "s")
	agent := func(more ...string) []string {
		return append([]string{bin, "agent", "--state-dir", state, "--socket", socket, "--listen", ""}, more...)
	}
	for name, c := range map[string]struct {
		call []string
		want []string // all must stand in the line
	}{
		"unknown key":        {agent("--config", file("a", "log-level: info\nlogg-level: info\n")), []string{"line 2", `"logg-level"`, "log-level"}},
		"wrong type":         {agent("--config", file("b", "max-nested-series: many\n")), []string{"line 1", "max-nested-series", "number", `"many"`}},
		"nested value":       {agent("--config", file("c", "listen: [a, b]\n")), []string{"listen", "single value"}},
		"broken YAML":        {agent("--config", file("d", "listen: \"a\n")), []string{"config"}},
		"no such config":     {agent("--config", filepath.Join(dir, "none")), []string{"config", "no such file"}},
		"bad flag value":     {agent("--history-max-age", "yesterday"), []string{"--history-max-age", "duration", `"yesterday"`}},
		"unknown flag":       {agent("--nonsense"), []string{"nonsense", "--help"}},
		"relative socket":    {agent("--socket", "s"), []string{"--socket", "absolute"}},
		"state is a file":    {agent("--state-dir", file("e", "x")), []string{"state directory", "--state-dir"}},
		"state not writable": {agent("--state-dir", "/proc/eyas"), []string{"state directory", "--state-dir"}},
		"history in use":     {agent("--state-dir", running.State), []string{"history", "in use", "--state-dir"}},
		"port in use":        {append(agent(), "--listen", busy.Addr().String()), []string{"address already in use", "--listen"}},
		"socket in use":      {agent("--socket", running.Socket), []string{"another eyas agent", "--socket"}},
		"socket is a file":   {agent("--socket", file("f", "x")), []string{"no socket", "--socket"}},
		"not root":           {append([]string{"setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all"}, agent()...), []string{"CAP_BPF", "root"}},
		"other pid namespace": {append([]string{"unshare", "--pid", "--fork", "--mount-proc"}, agent()...),
			[]string{"pid namespace", "hostPID"}},
		"no BTF": {append([]string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs t /sys/kernel/btf && exec "$@"`, "sh"}, agent()...),
			[]string{"BTF", "CONFIG_DEBUG_INFO_BTF"}},
		"hidepid": {append([]string{"unshare", "--mount", "sh", "-c",
			`mount -o remount,hidepid=2 /proc && exec setpriv --bounding-set=-sys_ptrace --inh-caps=-all "$@"`, "sh"}, agent()...),
			[]string{"CAP_SYS_PTRACE"}},
		"partial procfs": {append([]string{"unshare", "--mount", "sh", "-c", `mount -t proc -o subset=pid proc /proc && exec "$@"`, "sh"}, agent()...),
			[]string{"proc"}},
		"whois what":       {[]string{bin, "whois", "file", "7"}, []string{"pid, uid or gid", `"file"`}},
		"whois no number":  {[]string{bin, "whois", "pid", "seven"}, []string{"number", `"seven"`}},
		"whois too large":  {[]string{bin, "whois", "uid", "4294967296"}, []string{"4294967295"}},
		"whois bad time":   {[]string{bin, "whois", "uid", "7", "--at", "yesterday"}, []string{"--at", "2026", `"yesterday"`}},
		"bad output":       {[]string{bin, "ps", "-o", "xml"}, []string{"--output", "table, wide or json"}},
		"nobody":           {[]string{bin, "whois", "pid", "4194305", "--socket", running.Socket}, []string{"4194305", "not found"}},
		"no container":     {[]string{bin, "ps", "no-such", "--socket", running.Socket}, []string{`"no-such"`, "eyas tree"}},
		"too many args":    {[]string{bin, "tree", "x"}, []string{"tree", "--help"}},
		"unknown command":  {[]string{bin, "whoami"}, []string{"whoami"}},
		"empty chain name": {[]string{bin, "whois", "--in", " ", "pid", "1", "--socket", running.Socket}, []string{"empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			cmd := exec.Command(c.call[0], c.call[1:]...)
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// An agent that starts after all must not hold the test up.
			stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			stop.Stop()
			line := strings.TrimSuffix(errs.String(), "\n")
			if err == nil {
				t.Errorf("exit code 0, stderr %q", line)
			}
			if line == "" || strings.Contains(line, "\n") || !strings.HasPrefix(line, "eyas: ") {
				t.Errorf("want one line from eyas, got %q", line)
			}
			for _, w := range c.want {
				if !strings.Contains(line, w) {
					t.Errorf("%q does not say %q", line, w)
				}
			}
			if out.Len() > 0 {
				t.Errorf("stdout has %q", out.String())
			}
		})
	}
}
