package doctor

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/doctor/trial"
)

// likeLinux is what the good container lacks of a real /proc/PID.
func likeLinux(changes files) files {
	all := files{
		"/proc/77/ns/user":      "link:user:[1]",
		"/proc/77/setgroups":    "allow\n",
		"/proc/77/attr/current": "docker-default (enforce)\n",
		"/proc/77/status": "Name:\tsh\nUid:\t1\t201000\t1\t1\nGid:\t1\t201001\t1\t1\nGroups:\t201002 5 \nCapInh:\t00000000000000c0\nCapBnd:\t00000000a80425fb\n" +
			"CapAmb:\t0000000000000040\nNoNewPrivs:\t1\nSeccomp:\t2\n",
	}
	for name, text := range changes {
		all[name] = text
	}
	return all
}

func TestTryRequest(t *testing.T) {
	c := enter(t, likeLinux(files{"/proc/77/root/etc/subuid": "ops:7:7\ndev:1001:10\n1000:2000:20\n"}), false)
	got, err := c.asRequest()
	if err != nil {
		t.Fatal(err)
	}
	want := trial.Request{
		PID: 77,
		As: trial.As{
			UserNS: true, UID: 1000, GID: 1001, Groups: []uint32{1002}, Inheritable: 0xc0, Bounding: 0xa80425fb, Ambient: 0x40,
			NoNewPrivs: true, Filtered: true,
		},
		Inside: trial.Inside{UIDs: [][3]uint64{{0, 1000, 1}, {1, 1001, 10}, {11, 2000, 20}}, GIDs: [][3]uint64{{0, 1001, 1}, {1, 1001, 64535}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := c.profile(); got != "docker-default (enforce)" {
		t.Errorf("profile %q", got)
	}
	for _, changes := range []files{
		{"/proc/77/status": strings.Replace(likeLinux(nil)["/proc/77/status"], "201000", "7", 1)},
		{"/proc/77/status": goodStatus},
		{"/proc/77/ns/user": absent},
	} {
		if r, err := enter(t, likeLinux(changes), false).asRequest(); err == nil {
			t.Errorf("got %+v", r)
		}
	}
	for label, want := range map[string]string{"unconfined": "", "u:r:unconfined_t:s0\x00": "", "u:r:container_t:s0\x00": "u:r:container_t:s0"} {
		if got := enter(t, likeLinux(files{"/proc/77/attr/current": label}), false).profile(); got != want {
			t.Errorf("%q: got %q", label, got)
		}
	}
}

// TestTryRefused: it is not tried where something of the node would be freed from
// what confines it, and not on what is not this node.
func TestTryRefused(t *testing.T) {
	asRoot(t)
	whole := "0 0 4294967295\n"
	for _, c := range []struct {
		want, root string
		changes    files
	}{
		{`security profile "docker-default (enforce)"`, "/", files{"/proc/77/uid_map": whole, "/proc/77/gid_map": whole}},
		{"run it on the node itself", "", nil},
	} {
		box := enter(t, likeLinux(c.changes), false)
		if c.root != "" {
			box.node.root.path = c.root
		}
		results := box.Try(t.Context())
		if len(results) != len(tryChecks()) {
			t.Errorf("%d results of %d checks", len(results), len(tryChecks()))
		}
		for _, r := range results {
			if r.ID != "try-clean" && (r.State != Unknown || !strings.Contains(r.Found, c.want)) {
				t.Errorf("%s: got %s %q, want unknown with %q", r.ID, r.State, r.Found, c.want)
			}
		}
	}
}

func TestJudgeTry(t *testing.T) {
	ids := idMap{{0, 200000, 65536}}
	own, more := [][3]uint64{{0, 1000, 1}}, [][3]uint64{{0, 1000, 1}, {1, 1001, 64535}}
	ran := func(words string, err string) trial.Tool {
		return trial.Tool{Path: "/bin/newuidmap", Words: words, Step: trial.Step{Error: err}}
	}
	good, bad := okf("with file capabilities"), failf("it has neither file capabilities nor setuid")
	for _, c := range []struct {
		got    trial.Tool
		lines  [][3]uint64
		looked finding
		want   finding
	}{
		{ran("", ""), more, good, okf("mapped 64536 ids")},
		{ran("", ""), own, good, warnf("has no ranges for it")},
		{trial.Tool{Step: trial.Step{Skipped: true}}, more, good, unknownf("see try-userns")},
		{trial.Tool{Step: trial.Step{Error: "not installed", Errno: int(unix.ENOENT)}}, more, bad, failf("not installed")},
		{ran("newuidmap: uid range [1-10) -> [5-14) not allowed", "exit status 1"), more, good, failf("not in /etc/subuid")},
		{ran("newuidmap: write to uid_map failed", "exit status 1"), more, bad, failf("neither file capabilities")},
		{ran("newuidmap: write to uid_map failed", "exit status 1"), [][3]uint64{{1, 100000, 5}}, good, failf("outside the container's own map")},
		{ran("", "no answer within 5s"), more, good, failf("/bin/newuidmap: no answer within 5s")},
	} {
		got := judgeTry(c.got, c.lines, ids, c.looked, "/etc/subuid")
		if got.state != c.want.state || !strings.Contains(got.found, c.want.found) {
			t.Errorf("%+v: got %+v, want %+v", c.got, got, c.want)
		}
	}
}

func TestJudgeTrial(t *testing.T) {
	skipped := trial.Step{Skipped: true}
	failed := func(e unix.Errno) trial.Step { return trial.Step{Error: e.Error(), Errno: int(e)} }
	for _, c := range []struct {
		id     string
		change func(*tried)
		want   finding
	}{
		{"try-confinement", func(t *tried) { t.label = "p" }, warnf(`without its security profile "p"`)},
		{"try-confinement", func(t *tried) { t.report.Filters = failed(unix.EPERM) }, warnf("without its seccomp filters (operation not permitted)")},
		{"try-userns", func(t *tried) { t.report.Answer.UserNS = failed(unix.EPERM) }, failf("unprivileged_userns_clone")},
		{"try-userns", func(t *tried) {
			t.report.Count, t.report.Answer.UserNS = 1, failed(unix.EPERM)
		}, failf("most likely its seccomp filter")},
		{"try-userns", func(t *tried) { t.report.Answer.UserNS = failed(unix.EACCES) }, failf("AppArmor")},
		{"try-userns", func(t *tried) { t.report.Answer.UserNS = failed(unix.ENOSPC) }, failf("user.max_*_namespaces")},
		{"try-userns", func(t *tried) { t.report.Answer.UserNS = failed(unix.EAGAIN) }, failf("limit on pids")},
		{"try-newuidmap", func(t *tried) { t.request.Inside.UIDs = nil }, mootf("needs none")},
		{"try-overlay", func(t *tried) { t.report.Answer.Overlay = skipped }, unknownf("not tried")},
		{"try-overlay", func(t *tried) { t.err = errors.New("killed") }, unknownf("killed")},
		{"try-cgroup", func(t *tried) { t.report.Answer.Cgroup = failed(unix.EAGAIN) }, failf("cgroup.max.descendants")},
		{"try-cgroup", func(t *tried) { t.report.Answer.Cgroup = skipped }, unknownf("outside what it sees")},
		{"try-limits", func(t *tried) { t.report.Answer.PIDs = skipped }, warnf("pids is not passed on to it; it has: memory")},
		{"try-limits", func(t *tried) { t.report.Answer.PIDs, t.report.Answer.Memory = skipped, skipped }, failf("neither memory nor pids")},
		{"try-limits", func(t *tried) { t.report.Answer.Memory = failed(unix.EINVAL) }, failf("invalid argument")},
		{"try-limits", func(t *tried) { t.report.Answer.Enable = failed(unix.EBUSY) }, failf("busy")},
		{"try-limits", func(t *tried) { t.report.Answer.Cgroup, t.report.Answer.Memory = failed(unix.EACCES), skipped }, unknownf("not tried")},
		{"try-move", func(t *tried) { t.report.Answer.Move = failed(unix.EACCES) }, failf("cgroup.procs")},
		{"try-clean", func(t *tried) { t.report.Left = "cgroup x is left" }, warnf("cgroup x is left")},
		{"try-clean", func(t *tried) { t.report.Answer.Remove = failed(unix.EPERM) }, warnf("could not remove")},
		{"try-clean", func(t *tried) { t.err = errors.New("killed") }, okf("nothing is left")},
	} {
		tr := &tried{c: enter(t, likeLinux(nil), false)}
		tr.report.Answer.Controllers = "memory"
		tr.request.Inside.UIDs = [][3]uint64{{0, 1000, 1}}
		c.change(tr)
		got := find(t, tryChecks(), c.id).look(tr, t.Context())
		if got.state != c.want.state || !strings.Contains(got.found, c.want.found) {
			t.Errorf("%s: got %s %q, want %s with %q", c.id, got.state, got.found, c.want.state, c.want.found)
		}
	}
}
