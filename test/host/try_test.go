//go:build host

package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// tried runs eyas doctor --try, and returns its results and exit status.
func tried(t *testing.T, a *agent, chain string) (map[string]doctor.Result, int) {
	t.Helper()
	out, stderr, code := a.eyas("doctor", chain, "--try", "-o", "json")
	var all []doctor.Result
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	results := map[string]doctor.Result{}
	for _, r := range all {
		results[r.ID] = r
	}
	return results, code
}

// TestTry: eyas doctor --try in a container of runc with a seccomp filter, before
// and after eyas prepare.
func TestTry(t *testing.T) {
	a := startAgent(t, "")
	l := newLab(t)
	name := l.tag + "-try"
	config := ociConfig(name, "rootfs", 1000, [][3]int{{0, 300000, 65536}}, []string{"sh", "-c", "echo ready; exec sleep 74100"}, true)
	bin := filepath.Join(l.dir, "bin")
	for id, capability := range map[string]uint{"uid": unix.CAP_SETUID, "gid": unix.CAP_SETGID} {
		l.copyHelper("new"+id+"map", bin, capability)
	}
	config["mounts"] = append(config["mounts"].([]map[string]any), map[string]any{
		"destination": "/usr/local/bin", "type": "bind", "source": bin, "options": []string{"bind", "ro"},
	})
	config["linux"].(map[string]any)["seccomp"] = map[string]any{
		"defaultAction": "SCMP_ACT_ALLOW",
		"syscalls":      []map[string]any{{"names": []string{"swapon"}, "action": "SCMP_ACT_ERRNO"}},
	}
	process := config["process"].(map[string]any)
	process["capabilities"] = map[string]any{"bounding": []string{"CAP_SETUID", "CAP_SETGID"}}
	bundle := l.bundle("try", config)
	l.rootfs("try/rootfs")
	l.write("try/rootfs/etc/passwd", "root:x:0:0::/:/bin/sh\ndev:x:1000:1000::/:/bin/sh\n")
	l.write("try/rootfs/etc/subuid", "")
	l.write("try/rootfs/etc/subgid", "")
	if err := chownTree(filepath.Join(l.dir, "try"), 300000); err != nil {
		t.Fatal(err)
	}
	lines, _ := l.start(0, "runc", "--root", "/run/runc", "run", "--bundle", bundle, name)
	defer func() { // sooner than the lab is swept
		if _, err := l.try(0, "runc", "--root", "/run/runc", "delete", "--force", name); err != nil {
			t.Error(err)
		}
	}()
	if got := lines(); got != "ready\n" {
		t.Fatalf("the container says %q", got)
	}
	var state struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(l.run(0, "runc", "--root", "/run/runc", "state", name)), &state); err != nil {
		t.Fatal(err)
	}
	want := func(results map[string]doctor.Result, state doctor.State, found string, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if r := results[id]; r.State != state || !strings.Contains(r.Found, found) {
				t.Errorf("%s: got %s %q, want %s with %q", id, r.State, r.Found, state, found)
			}
		}
	}
	before, code := tried(t, a, name)
	want(before, doctor.OK, "seccomp filters: 1", "try-confinement")
	want(before, doctor.Warn, "mapped one id", "try-newuidmap", "try-newgidmap")
	want(before, doctor.OK, "", "try-userns", "try-proc", "try-overlay", "try-clean")
	if os.Getenv("EYAS_VM") != "" { // natively it has v1's hierarchies
		want(before, doctor.Fail, "permission denied", "try-cgroup")
		if code != 1 {
			t.Errorf("exit status %d", code)
		}
	}
	ask[struct{}](t, a, "prepare", "--pid", fmt.Sprint(state.PID))
	after, _ := tried(t, a, name)
	want(after, doctor.OK, "mapped 65535 ids", "try-newuidmap", "try-newgidmap")
	want(after, doctor.OK, "", "try-confinement", "try-userns", "try-proc", "try-overlay", "try-clean")
	if os.Getenv("EYAS_VM") != "" {
		want(after, doctor.OK, "", "try-cgroup", "try-limits", "try-move")
	}
	if t.Failed() {
		for _, r := range after {
			t.Logf("%-16s %-8s %s", r.ID, r.State, r.Found)
		}
	}
}
