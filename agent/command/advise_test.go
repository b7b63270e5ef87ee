package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/agent/advise"
	"github.com/eyas-agent/eyas/agent/doctor"
)

// TestMain ends the probes that doctor starts this program for.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == doctor.ProbeArg {
		return
	}
	m.Run()
}

// machine writes the files of a node without container runtimes, with changes.
func machine(t *testing.T, changes map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	files := map[string]string{
		"proc/sys/kernel/osrelease":             "6.12.1",
		"proc/sys/kernel/seccomp/actions_avail": "errno allow",
		"proc/1/mountinfo":                      "24 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
		"sys/fs/cgroup/cgroup.controllers":      "cpu memory pids io",
		"sys/fs/cgroup/cgroup.subtree_control":  "cpu memory pids io",
	}
	for _, kind := range []string{"user", "cgroup", "ipc", "mnt", "net", "pid", "uts"} {
		files["proc/sys/user/max_"+kind+"_namespaces"] = "30000"
	}
	for name, text := range changes {
		files[name] = text
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestAdvise(t *testing.T) {
	// Neither this machine's cluster nor its user's.
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	ask := func(root string, args ...string) (int, string, string) {
		t.Helper()
		return runIn(t, root, append([]string{"advise", "--socket", filepath.Join(root, "none")}, args...)...)
	}
	good := machine(t, nil)
	code, out, errs := ask(good)
	if code != exitOK || errs != "" || !strings.HasPrefix(out, "for build: hostUsers: false, rootless engine (pod-rootless)\n") ||
		!strings.Contains(out, "kubectl apply -k manifests/examples/buildkit") || strings.Contains(out, "profile-dev") {
		t.Errorf("%d %s\n%s", code, errs, out)
	}
	code, out, errs = ask(good, "--workload", "dev", "--manifest")
	if code != exitOK || errs != "" || !strings.Contains(out, "name: eyas-dev\n") || !strings.Contains(out, "kind: StatefulSet\n") || strings.Count(out, "\n---\n") < 3 {
		t.Errorf("%d %s\n%s", code, errs, out)
	}
	hostile := machine(t, map[string]string{"proc/sys/kernel/osrelease": "6.1.0\x1b[2J"})
	code, out, errs = ask(hostile, "-o", "json")
	var got advised
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || !printable(out) {
		t.Fatalf("%d %v %s\n%s", code, err, errs, out)
	}
	if got.Recommended.ID != "rootless-host" || got.Modes[0].Verdict != advise.Recommended || len(got.Changes) == 0 ||
		!strings.HasPrefix(got.Manifest, "# To change, for rootless engine, host's user namespace: leave out hostUsers: false\n") {
		t.Errorf("%+v", got.Report)
	}
	for _, output := range []string{"table", "wide"} {
		if _, out, _ := ask(hostile, "-o", output); !printable(out) || !strings.Contains(out, `6.1.0\x1b[2J`) {
			t.Errorf("%s: %q", output, out)
		}
	}
	code, out, errs = ask(machine(t, map[string]string{"proc/sys/user/max_user_namespaces": "0"}))
	if code != exitFailed || !strings.Contains(errs, "no mode works here") ||
		!strings.Contains(out, "the nearest is hostUsers: false, rootless engine (pod-rootless)\n  lacks     fail userns-max: user.max_user_namespaces is 0\n              fix: sysctl -w") {
		t.Errorf("%d %s\n%s", code, errs, out)
	}
	for _, args := range [][]string{{"--workload", "games"}, {"x"}, {"-o", "yaml"}} {
		if code, _, errs := ask(good, args...); code != exitUsage {
			t.Errorf("%q: %d %s", args, code, errs)
		}
	}
	if _, out, _ := ask(good, "--kubeconfig", "/none"); !strings.Contains(out, "cluster-version: find the API server") {
		t.Errorf("a kubeconfig that is not there:\n%s", out)
	}
}
