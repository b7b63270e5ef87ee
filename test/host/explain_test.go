//go:build host

package host

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/agent/explain"
)

// A file has the ids at every level that the kernel shows there, with an agent
// and without, and where it is nobody's the level that lacks it is named.
func TestExplainPath(t *testing.T) {
	a := startAgent(t, "")
	ids := []syscall.SysProcIDMap{{HostID: 310000, Size: 65536}}
	c := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "sleep", "74000")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL,
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(c) })
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // for the users of the namespaces
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Chown(file, 310000, 310007)); err != nil {
		t.Fatal(err)
	}
	var inner string
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, a.done, func() error {
		tree, err := a.Client.Tree(ctx)
		for _, n := range tree {
			for _, k := range n.Children {
				if int(n.InitPID) == c.Process.Pid && k.Name == "sleep" {
					inner = k.ID
					return nil
				}
			}
		}
		return errors.Join(err, errors.New("no container in it yet"))
	}); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		In     string
		Disk   explain.IDs
		Levels []explain.Seen
		Nobody []explain.Nobody
	}
	for name, call := range map[string]func(...string) (string, string, int){
		"agent": a.eyas,
		"snapshot": func(args ...string) (string, string, int) {
			return runEyas(t, append(args, "--socket", filepath.Join(dir, "none"), "--state-dir", filepath.Join(dir, "none"))...)
		},
	} {
		out, stderr, code := call("explain", "path", file, "--in", inner, "-o", "json")
		var got answer
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
			t.Fatalf("%s: %d, %v: %s", name, code, err, stderr)
		}
		if len(got.Levels) != 3 || got.In != inner || *got.Disk.UID != 310000 {
			t.Fatalf("%s: %+v", name, got)
		}
		if l := got.Levels; *l[0].GID != 310007 || *l[1].UID != 0 || *l[1].GID != 7 || *l[2].UID != 0 || l[2].GID != nil {
			t.Errorf("%s: %s", name, out)
		}
		if n := got.Nobody; len(n) != 1 || n[0].Kind != "gid" || n[0].Level != 2 || !strings.Contains(n[0].Why, "does not map gid 7 of level 1") {
			t.Errorf("%s: %+v", name, n)
		}
	}
	if _, _, code := a.eyas("explain", "path", file, "--in", "no such container"); code != 3 {
		t.Errorf("no such container: exit status %d", code)
	}
	// With a container the checks of what it has are run, too.
	out, stderr, _ := a.eyas("explain", "newuidmap: write to uid_map failed: Operation not permitted", "--in", inner, "-o", "json")
	var all []explain.Explanation
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || len(all[0].Checks) == 0 {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	for _, f := range all[0].Checks {
		if f.State == explain.NotRun {
			t.Errorf("%+v", f)
		}
	}
}
