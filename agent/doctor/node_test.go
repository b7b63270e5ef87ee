package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/exporter/api"
)

// machine are checks whose answer the test's machine decides, and not the tree.
var machine = map[string]bool{
	"containerd-version": true, "runc-version": true, "crun-version": true, "crio-version": true, "podman-version": true,
	"userns-probe": true, "overlay-probe": true, "idmap-mounts": true, "state-dir": true,
	"dev-fuse": true, "dev-tun": true, "nri-socket": true,
}

// TestGoodNode compares all that a good node's files decide, as JSON.
func TestGoodNode(t *testing.T) {
	asRoot(t)
	n := plant(t, nil)
	n.now = func() time.Time { return time.Unix(1000, 0) }
	n.agent = func(context.Context) (api.Health, error) {
		return api.Health{
			Hooks:         []api.Hook{{Name: "on_exec", Target: "tp_btf/sched_process_exec", State: "active"}},
			LastReconcile: time.Unix(995, 0), ReconcileInterval: 30 * time.Second,
		}, nil
	}
	results := []Result{}
	for _, r := range n.CheckQuietly(t.Context()) {
		if !machine[r.ID] {
			results = append(results, r)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(results); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/node.json"
	if os.Getenv("EYAS_UPDATE") != "" {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("results (-want +got), EYAS_UPDATE=1 writes them anew:\n%s", diff)
	}
}

// nodeCase changes one thing of the good node, and says what a check makes of it.
type nodeCase struct {
	id      string
	changes files
	state   State
	found   string // a part of it
}

func testNode(t *testing.T, cases []nodeCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.id+"/"+string(c.state)+"/"+c.found, func(t *testing.T) {
			got := find(t, nodeChecks(), c.id).look(plant(t, c.changes), t.Context())
			if got.state != c.state || !strings.Contains(got.found, c.found) {
				t.Errorf("got %s %q, want %s with %q", got.state, got.found, c.state, c.found)
			}
		})
	}
}

func TestKernel(t *testing.T) {
	testNode(t, []nodeCase{
		{"kernel-version", files{"/proc/sys/kernel/osrelease": "5.15.0-91-generic"}, Fail, "needs 6.1"},
		{"kernel-version", files{"/proc/sys/kernel/osrelease": "6.1.0"}, Warn, "6.3"},
		{"kernel-version", files{"/proc/sys/kernel/osrelease": "6.10.1"}, OK, "6.10.1"},
		{"kernel-version", files{"/proc/sys/kernel/osrelease": "mine"}, Unknown, "no version"},
		{"kernel-version", files{"/proc/sys/kernel/osrelease": absent}, Unknown, "/proc/sys/kernel/osrelease: no such file"},
		{"kernel-btf", files{"/sys/kernel/btf/vmlinux": absent}, Fail, "no /sys/kernel/btf/vmlinux"},
		{"pid-namespace", files{"/proc/self/ns/pid": "link:pid:[7]"}, Fail, "in pid:[7]"},
	})
}

func TestCgroup(t *testing.T) {
	mounts := func(old, new string) files {
		return files{"/proc/1/mountinfo": strings.Replace(goodMounts, old, new, 1)}
	}
	hybrid := mounts("24 23 ", "26 23 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n24 23 ")
	without := mounts("cgroup2 cgroup2", "tmpfs tmpfs")
	testNode(t, []nodeCase{
		{"cgroup-v2", hybrid, Fail, "v1 holds memory"},
		{"cgroup-v2", without, Fail, "no cgroup2"},
		{"cgroup-v2", mounts("/sys/fs/cgroup", "/cg"), Warn, "at /cg"},
		{"cgroup-v2", files{"/proc/1/mountinfo": "junk\n - \n1 2 3 - a\n"}, Fail, "no cgroup2"},
		{"cgroup-nsdelegate", mounts(",nsdelegate", ""), Fail, "mounted with rw"},
		{"cgroup-nsdelegate", without, NotApplicable, ""},
		{"cgroup-recursiveprot", mounts(",memory_recursiveprot", ""), Warn, "nsdelegate"},
		{"cgroup-controllers", files{"/sys/fs/cgroup/cgroup.controllers": "cpu"}, Fail, "not available: io, memory, pids"},
		{"cgroup-controllers", files{"/sys/fs/cgroup/cgroup.subtree_control": ""}, Warn, "enabled: none"},
		{"cgroup-kubepods", files{"/sys/fs/cgroup/kubepods.slice/cgroup.subtree_control": "cpu memory"}, Warn, "pids"},
		{"cgroup-kubepods", files{
			"/sys/fs/cgroup/kubepods.slice/cgroup.subtree_control": absent, "/sys/fs/cgroup/kubepods.slice/cgroup.controllers": absent,
		}, NotApplicable, "no kubepods"},
		{"cgroup-delegate", files{"/sys/kernel/cgroup/delegate": absent}, Warn, "no /sys"},
		{"cgroup-delegate", files{"/sys/kernel/cgroup/delegate": "cgroup.procs"}, Warn, "subtree_control is not in it"},
	})
}

func TestUserns(t *testing.T) {
	testNode(t, []nodeCase{
		{"userns-max", files{"/proc/sys/user/max_user_namespaces": "0"}, Fail, "is 0"},
		{"userns-max", files{"/proc/sys/user/max_user_namespaces": "12"}, Warn, "only 12"},
		{"userns-max", files{"/proc/sys/user/max_user_namespaces": "many"}, Unknown, `"many"`},
		{"namespaces-max", files{"/proc/sys/user/max_net_namespaces": "0"}, Fail, "net 0"},
		{"namespaces-max", files{"/proc/sys/user/max_pid_namespaces": "5"}, Warn, "pid 5"},
		{"userns-clone", files{"/proc/sys/kernel/unprivileged_userns_clone": "0"}, Fail, ""},
		{"userns-clone", files{"/proc/sys/kernel/unprivileged_userns_clone": absent}, NotApplicable, "Debian's"},
		{"userns-apparmor", files{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, Warn, "restricted"},
		{"userns-apparmor", files{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0"}, OK, ""},
		{"lsm", files{"/sys/kernel/security/lsm": absent}, Unknown, "/sys/kernel/security/lsm"},
		{"selinux", files{"/sys/fs/selinux/enforce": "1"}, Warn, "enforcing"},
		{"selinux", files{"/sys/fs/selinux/enforce": absent}, NotApplicable, ""},
		{"seccomp", files{"/proc/sys/kernel/seccomp/actions_avail": absent}, Fail, "no seccomp"},
		{"seccomp", files{"/proc/sys/kernel/seccomp/actions_avail": "allow"}, Warn, "no errno"},
	})
}

func TestLimits(t *testing.T) {
	testNode(t, []nodeCase{
		{"keys", files{"/proc/sys/kernel/keys/maxkeys": "200"}, Warn, "kernel.keys.maxkeys 200, want 1000"},
		{"inotify", files{"/proc/sys/fs/inotify/max_user_instances": "128"}, Warn, "128"},
		{"pids", files{"/proc/sys/kernel/pid_max": "32768"}, Warn, "want 65536"},
		{"low-ports", files{"/proc/sys/net/ipv4/ping_group_range": "1 0"}, OK, "ports from 1024, ping for no gid"},
		{"low-ports", files{"/proc/sys/net/ipv4/ping_group_range": "1"}, Unknown, ""},
		{"fs-overlay", files{"/proc/filesystems": "\text4\n"}, Warn, "not in /proc/filesystems"},
		{"fs-fuse", files{"/proc/filesystems": "nodev\tfusectl\n"}, Warn, ""},
		{"overlay-probe", files{"/proc/filesystems": "\text4\n"}, Unknown, "would load the module"},
	})
	for _, c := range []struct {
		free, files, left uint64
		want              State
	}{{1 << 40, 100, 50, OK}, {100 << 20, 100, 50, Warn}, {1 << 20, 100, 50, Fail}, {1 << 40, 100, 2, Fail}, {1 << 40, 0, 0, OK}} {
		if got := judgeSpace("/d", c.free, c.files, c.left); got.state != c.want {
			t.Errorf("space %+v: got %+v", c, got)
		}
	}
}

func TestAgentChecks(t *testing.T) {
	now := time.Unix(1000, 0)
	active := api.Hook{Name: "on_exec", State: "active"}
	lame := api.Hook{Name: "on_fork", State: "missing", Reason: "load: permission denied", Loss: "births"}
	rare := api.Hook{Name: "on_oom", State: "unproven", Reason: "not driven", Rare: true}
	silent := api.Hook{Name: "on_oom", State: "silent", Rare: true}
	for _, c := range []struct {
		name        string
		health      api.Health
		err         error
		hooks, recs State
	}{
		{"no agent", api.Health{}, errors.New("down"), Unknown, Unknown},
		{"young", api.Health{}, nil, Unknown, Unknown},
		{"good", api.Health{Hooks: []api.Hook{active}, LastReconcile: now, ReconcileInterval: time.Minute}, nil, OK, OK},
		{"a hook is missing", api.Health{Hooks: []api.Hook{active, lame}, LastReconcile: now, ReconcileInterval: time.Minute}, nil, Warn, OK},
		{"a hook waits", api.Health{Hooks: []api.Hook{active, rare}, LastReconcile: now, ReconcileInterval: time.Minute}, nil, OK, OK},
		{"a rare hook is silent", api.Health{Hooks: []api.Hook{active, silent}, LastReconcile: now, ReconcileInterval: time.Minute}, nil, Warn, OK},
		{"stuck", api.Health{Hooks: []api.Hook{active}, LastReconcile: now.Add(-time.Hour), ReconcileInterval: time.Minute}, nil, OK, Fail},
		{"drift", api.Health{Hooks: []api.Hook{active}, LastReconcile: now, ReconcileInterval: time.Minute, Drift: 3}, nil, OK, Warn},
	} {
		n := plant(t, nil)
		n.now = func() time.Time { return now }
		n.agent = func(context.Context) (api.Health, error) { return c.health, c.err }
		if got := n.hooks(t.Context()); got.state != c.hooks {
			t.Errorf("%s: hooks: got %+v, want %s", c.name, got, c.hooks)
		}
		if got := n.reconcile(t.Context()); got.state != c.recs {
			t.Errorf("%s: reconcile: got %+v, want %s", c.name, got, c.recs)
		}
	}
}

// TestHooksAlike: what a kernel refuses for one reason is said once.
func TestHooksAlike(t *testing.T) {
	n := plant(t, nil)
	n.agent = func(context.Context) (api.Health, error) {
		refused := func(name, loss string) api.Hook {
			return api.Hook{Name: name, State: "missing", Reason: "load: refused", Loss: loss}
		}
		return api.Health{Hooks: []api.Hook{
			refused("a", "reads"), {Name: "b", State: "active"}, refused("c", "writes"), refused("d", "reads"),
			{Name: "e", State: "silent", Reason: "load: refused", Loss: "births"},
		}}, nil
	}
	want := "1 of 5 fully active; 3 are missing (load: refused): a, c, d; without: reads, writes; 1 is silent (load: refused): e; without: births"
	if got := n.hooks(t.Context()); got.state != Warn || got.found != want {
		t.Errorf("got %s %q, want %q", got.state, got.found, want)
	}
}

// TestHooksLater: an agent that has just begun is not one that lacks hooks.
func TestHooksLater(t *testing.T) {
	n := plant(t, nil)
	hooks := []api.Hook{{Name: "a", State: "active"}, {Name: "b", State: "missing", Reason: bpf.NotYet}}
	n.agent = func(context.Context) (api.Health, error) { return api.Health{Hooks: hooks}, nil }
	if got := n.hooks(t.Context()); got.state != Unknown || got.found != "1 of 2 active, the others are being attached: ask again" {
		t.Errorf("got %s %q", got.state, got.found)
	}
	hooks = append(hooks, api.Hook{Name: "c", State: "missing", Reason: "no", Loss: "x"})
	if got := n.hooks(t.Context()); got.state != Warn || got.found != "1 of 3 fully active; 1 is missing (no): c; without: x; 1 still to be attached" {
		t.Errorf("got %s %q", got.state, got.found)
	}
}

func TestRuntimeChecks(t *testing.T) {
	other := plant(t, nil)
	other.agent = func(context.Context) (api.Health, error) {
		return api.Health{Runtime: &api.Runtime{Socket: "/run/other.sock"}}, nil
	}
	if got := other.nriSocket(t.Context()); got.state != Warn || got.found != "no /run/other.sock" {
		t.Errorf("the agent's socket: %+v", got)
	}
	for _, c := range []struct {
		name                  string
		runtime               *api.Runtime
		err                   error
		plant                 files
		connected, unprepared State
	}{
		{"no agent", nil, errors.New("down"), nil, Unknown, Unknown},
		{"off", nil, nil, nil, NotApplicable, NotApplicable},
		{"no runtime", &api.Runtime{Socket: "/run/nri.sock"}, nil, files{
			kubeletDir + "/config.yaml": absent, kubeletDir + "/pods/a/userns": absent, kubeletDir + "/pods/b/userns": absent, kubeletDir + "/pods/c/volumes": absent,
			"/sys/fs/cgroup/kubepods.slice/cgroup.controllers": absent, "/sys/fs/cgroup/kubepods.slice/cgroup.subtree_control": absent,
		}, NotApplicable, NotApplicable},
		{"lost", &api.Runtime{Socket: "/run/nri.sock"}, nil, nil, Fail, NotApplicable},
		{"good", &api.Runtime{Connected: true}, nil, nil, OK, OK},
		{"some missing", &api.Runtime{Connected: true, Unprepared: 3, Names: []string{"a/b/c", "a/b/d"}}, nil, nil, OK, Fail},
	} {
		n := plant(t, c.plant)
		n.agent = func(context.Context) (api.Health, error) { return api.Health{Runtime: c.runtime}, c.err }
		if got := n.nriConnected(t.Context()); got.state != c.connected {
			t.Errorf("%s: connected: got %+v, want %s", c.name, got, c.connected)
		}
		got := n.nriUnprepared(t.Context())
		if got.state != c.unprepared {
			t.Errorf("%s: unprepared: got %+v, want %s", c.name, got, c.unprepared)
		}
		if got.state == Fail && got.found != "3 not: a/b/c, a/b/d, …" {
			t.Errorf("%s: found %q", c.name, got.found)
		}
	}
}

// A node that lost nsdelegate is told since when, if an agent saw it.
func TestNSDelegateSince(t *testing.T) {
	since := time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)
	n := plant(t, files{"/proc/1/mountinfo": "24 23 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"})
	for _, tc := range []struct {
		flag  *api.Flag
		err   error
		found string
	}{
		{&api.Flag{Since: since}, nil, "mounted with rw, since 2026-01-31T03:00:00Z or before"},
		{&api.Flag{On: true, Since: since}, nil, "mounted with rw"}, // stripped this moment
		{nil, nil, "mounted with rw"},
		{&api.Flag{Since: since}, errNoAgent, "mounted with rw"},
	} {
		n.agent = func(context.Context) (api.Health, error) { return api.Health{NSDelegate: tc.flag}, tc.err }
		if f := find(t, nodeChecks(), "cgroup-nsdelegate").look(n, t.Context()); f.state != Fail || f.found != tc.found {
			t.Errorf("%+v: %s %q, want %q", tc.flag, f.state, f.found, tc.found)
		}
	}
}
