//go:build host

package host

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// buildRoom makes room in a shell's container for its root to build an image in.
const buildRoom = `set -e
busybox mount -t tmpfs -o mode=755 tmpfs /run
busybox mount -t tmpfs -o mode=1777 tmpfs /var/tmp
busybox mount -t tmpfs -o mode=755 tmpfs /root
mkdir -p /run/log /run/build/bin /run/build/proc /run/build/dev /run/build/tmp
cp /usr/bin/busybox /run/build/bin/
for f in sh chown chmod cat; do ln -s busybox /run/build/bin/$f; done
printf 'FROM scratch\nCOPY . /\nRUN echo made >/made; chown 7:8 /made; chmod 600 /made; cat /made\n' >/run/Containerfile
`

// build makes an image of that. strace's filter lets all calls through undisturbed
// that it is not to show, and costs setuid programs their rights, of which root in its
// container has no need.
const build = "cd /run; export HOME=/root; strace -ff --seccomp-bpf -s 100 -e signal=none -e trace=%s -o /run/log/s " +
	"buildah --root /run/store --runroot /run/runroot --storage-driver vfs build --isolation chroot --network host --layers=false --tag built --file Containerfile build"

// TestDenialsOfABuild: over a whole build that succeeds, eyas tells of exactly
// those calls that strace sees refused, of who made them, and as often.
func TestDenialsOfABuild(t *testing.T) {
	a := startAgent(t, "", "--denials=true")
	states := denialHooks(t, a)
	if strings.Contains(states["denials_fork"], refused) {
		t.Skip("this kernel refuses trampolines, and the agent says so: " + states["denials_fork"])
	}
	cgroup, _ := cgroupOfOwn(t, nil)
	s := startShell(t, cgroup, false)
	chain := a.container(s.pid)
	if out := s.do(buildRoom); out != "" {
		t.Fatal(out)
	}
	out := s.do(fmt.Sprintf(build, strings.Join(straceTraced(), ",")))
	if !strings.Contains(out, "made\n") || !strings.Contains(out, "Successfully tagged localhost/built") {
		t.Fatalf("the build failed: %s", out)
	}
	want, err := straceRefused(fmt.Sprintf("/proc/%d/root/run/log", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	for call, hook := range straceHooks {
		if !strings.HasPrefix(states[hook], "active") {
			t.Logf("%s: %s is %s", call, hook, states[hook])
			maps.DeleteFunc(want, func(r straceRefusal, _ uint64) bool { return r.call == call })
		}
	}
	total := map[string]uint64{}
	for r, n := range want {
		t.Logf("strace: pid %d was refused %s (%s) %d times", r.pid, r.what, r.call, n)
		total[r.what] += n
	}

	text, stderr, code := a.eyas("explain", chain, "--follow=false", "-o", "json")
	if code != 0 && len(total) != 0 {
		t.Fatalf("explain: %s", stderr)
	}
	var all []refusedOne
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, r := range all {
		if r.Comm == "strace" { // tries what it can do, seen by nobody
			continue
		}
		what := r.Op + " " + r.Error
		got[what] += r.Count
		t.Logf("eyas: %s, %d times, last pids %v (%s, %s): %s", what, r.Count, r.PIDs, r.Comm, r.State, r.Refusal.Cause)
		if len(r.PIDs) < 2 || !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(w straceRefusal) bool { return w.what == what && w.pid == int(r.PIDs[1]) }) {
			t.Errorf("%s is told of pids %v, which strace has not seen refused", what, r.PIDs)
		}
		if r.State == "exited" && r.Exit == nil {
			t.Errorf("%s: how pid %d ended is not known", what, r.Host.PID)
		}
	}
	if d := cmp.Diff(total, got); d != "" {
		t.Errorf("refused (-strace +eyas):\n%s", d)
	}
	if n := value(a.families()["eyas_denials_unowned_total"].GetMetric()[0]); n != 0 {
		t.Errorf("%v refusals are nobody's", n)
	}
	words, _, _ := a.eyas("explain", chain, "--follow=false")
	t.Log(words)
}
