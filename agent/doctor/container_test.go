package doctor

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const (
	goodContainerMounts = `40 1 0:40 / / rw - overlay overlay rw
41 40 0:41 / /proc rw - proc proc rw
42 40 0:23 /kubepods.slice/c /sys/fs/cgroup rw - cgroup2 cgroup2 rw
43 40 8:1 /v /home/dev rw - ext4 /dev/vda1 rw
`
	goodStatus = "Name:\tsh\nUid:\t201000\t201000\t201000\t201000\nCapBnd:\t00000000000000c0\nNoNewPrivs:\t0\nSeccomp:\t0\n"
	goodIDMap  = "         0     200000      65536\n"
)

// goodContainer is pid 77 in cgroup c of the good node.
func goodContainer() files {
	return files{
		"/proc/77/status":                                        goodStatus,
		"/proc/77/mountinfo":                                     goodContainerMounts,
		"/proc/77/uid_map":                                       goodIDMap,
		"/proc/77/gid_map":                                       goodIDMap,
		"/proc/77/root/etc/passwd":                               "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000::/home/dev:/bin/sh\n",
		"/proc/77/root/etc/subuid":                               "dev:1001:64535\n",
		"/proc/77/root/etc/subgid":                               "dev:1001:64535\n",
		"/sys/fs/cgroup/kubepods.slice/c/cgroup.controllers":     "cpu memory pids\n",
		"/sys/fs/cgroup/kubepods.slice/c/cgroup.subtree_control": "cpu memory pids\n",
		"/sys/fs/cgroup/kubepods.slice/c/cgroup.procs":           "",
		"/sys/fs/cgroup/kubepods.slice/c/cgroup.type":            "domain\n",
		"/sys/fs/cgroup/kubepods.slice/c/cgroup.max.descendants": "512\n",
		"/sys/fs/cgroup/kubepods.slice/c/cgroup.max.depth":       "16\n",
		"/sys/fs/cgroup/kubepods.slice/c/pids.max":               "500\n",
		"/sys/fs/cgroup/kubepods.slice/c/pids.current":           "5\n",
	}
}

func enter(t testing.TB, changes files, escaped bool) *Container {
	t.Helper()
	all := goodContainer()
	for name, text := range changes {
		all[name] = text
	}
	c, err := OpenContainer(plant(t, all), ContainerOptions{PID: 77, Cgroup: "/kubepods.slice/c/init", Escaped: escaped})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestContainer(t *testing.T) {
	group := func(file, text string) files {
		return files{"/sys/fs/cgroup/kubepods.slice/c/" + file: text}
	}
	mounts := func(old, new string) files {
		return files{"/proc/77/mountinfo": strings.Replace(goodContainerMounts, old, new, 1)}
	}
	status := func(old, new string) files {
		return files{"/proc/77/status": strings.Replace(goodStatus, old, new, 1)}
	}
	inside := func(file, text string) files { return files{"/proc/77/root/" + file: text} }
	asInnerRoot := status("201000\t201000", "200000\t200000")
	whole := files{"/proc/77/uid_map": "0 0 4294967295\n", "/proc/77/gid_map": "0 0 4294967295\n"}
	for _, c := range []nodeCase{
		{"cgroup-mount", nil, OK, "writable at /sys/fs/cgroup"},
		{"cgroup-mount", mounts("/sys/fs/cgroup rw", "/sys/fs/cgroup ro"), Warn, "read-only"},
		{"cgroup-mount", mounts("cgroup2 cgroup2", "tmpfs tmpfs"), Warn, "no cgroup2"},
		{"cgroup-owner", nil, Warn, "its first process is host uid 201000"},
		{"cgroup-owner", group("x/cgroup.type", ""), Warn, "host uid " + strconv.Itoa(os.Geteuid())},
		{"cgroup-owner", status("Uid:", "Gid:"), Unknown, "no Uid"},
		{"cgroup-files", nil, OK, ""},
		{"cgroup-controllers", nil, OK, "cpu memory pids"},
		{"cgroup-controllers", group("cgroup.controllers", "cpu"), Fail, "memory, pids"},
		{"cgroup-controllers", group("cgroup.subtree_control", ""), Warn, "not enabled below"},
		{"cgroup-internal", nil, OK, ""},
		{"cgroup-internal", group("cgroup.procs", "77\n78\n"), Warn, "2 processes"},
		{"cgroup-type", group("cgroup.type", "domain threaded"), Warn, "threaded"},
		{"cgroup-type", group("cgroup.type", "domain invalid"), Fail, "invalid"},
		{"cgroup-bounds", nil, OK, "descendants 512, depth 16"},
		{"cgroup-bounds", group("cgroup.max.depth", "max"), Warn, "depth max"},
		{"pids-limit", group("pids.max", "max"), OK, "5 of max"},
		{"pids-limit", group("pids.current", "499"), Warn, "499 of 500"},
		{"pids-limit", group("pids.max", absent), NotApplicable, ""},
		{"userns", nil, OK, "65536 uids"},
		{"userns", whole, Warn, "the node's own"},
		{"userns", files{"/proc/77/uid_map": "0 7 1\n"}, Warn, "1 uids, 65536 gids"},
		{"userns", files{"/proc/77/uid_map": ""}, Fail, "not written"},
		{"subuid", nil, OK, "1 ranges"},
		{"subuid", inside("etc/subuid", "dev:100000:65536\n"), Fail, "not in its map: dev:100000:65536"},
		{"subuid", inside("etc/subuid", "ops:1001:5\n"), Warn, "none of uid 1000"},
		{"subuid", inside("etc/subuid", "1000:1001:5\n"), OK, ""},
		{"subuid", inside("etc/subuid", absent), Warn, "no ranges"},
		{"subuid", inside("etc/subuid", "dev:\x1b[31m\n"), Fail, "line 1"},
		{"subuid", inside("etc/subuid", "link:/etc/passwd"), Unknown, "not a regular file"},
		{"subuid", inside("etc/subuid", strings.Repeat("x", maxText+1)), Unknown, "more than"},
		{"subgid", files{"/proc/77/root/etc/subgid": absent, "/proc/77/status": asInnerRoot["/proc/77/status"]}, NotApplicable, "root there"},
		{"newuidmap", nil, Fail, "not installed"},
		{"newuidmap", asInnerRoot, NotApplicable, ""},
		{"newuidmap", inside("usr/bin/newuidmap", "#!"), Fail, "neither file capabilities nor setuid"},
		{"newuidmap", inside("usr/bin/newuidmap", "link:/bin/busybox"), Unknown, "no regular file"},
		{"no-new-privs", nil, OK, ""},
		{"no-new-privs", status("Privs:\t0", "Privs:\t1"), Fail, "is on"},
		{"seccomp", nil, OK, "no filter"},
		{"seccomp", status("Seccomp:\t0", "Seccomp:\t2"), Unknown, "a filter is on"},
		{"seccomp", status("Seccomp:\t0", "Seccomp:\t1"), Fail, "strict"},
		{"capabilities", nil, OK, "0xc0"},
		{"capabilities", status("00c0", "0040"), Fail, "CAP_SETUID"},
		{"capabilities", status("00c0", "none"), Unknown, ""},
		{"dev-fuse", nil, Warn, "no /dev/fuse"},
		{"dev-tun", inside("dev/net/tun", ""), Fail, "is not device"},
		{"proc-unmasked", nil, OK, "whole"},
		{"proc-unmasked", mounts("42 40", "44 41 0:50 / /proc/kcore ro - tmpfs tmpfs ro\n42 40"), Fail, "/proc/kcore"},
		{"proc-unmasked", mounts("42 40", "44 41 0:50 / /proc/sys/fs/binfmt_misc rw - binfmt_misc x rw\n42 40"), OK, ""},
		{"store", nil, OK, "/home/dev/.local/share/containers/storage on ext4"},
		{"store", mounts("ext4", "nfs4"), Fail, "nfs4"},
		{"store", mounts("/home/dev", "/data"), Warn, "overlay"},
	} {
		t.Run(c.id+"/"+string(c.state)+"/"+c.found, func(t *testing.T) {
			got := find(t, containerChecks(), c.id).look(enter(t, c.changes, false), t.Context())
			if got.state != c.state || !strings.Contains(got.found, c.found) {
				t.Errorf("got %s %q, want %s with %q", got.state, got.found, c.state, c.found)
			}
		})
	}
	if got := enter(t, nil, true).cgroupEscaped(t.Context()); got.state != Warn {
		t.Errorf("escaped: got %+v", got)
	}
	if all := enter(t, nil, false).Check(t.Context()); len(all) != len(containerChecks()) {
		t.Errorf("%d results of %d checks", len(all), len(containerChecks()))
	}
}

func TestContainerGone(t *testing.T) {
	c := enter(t, nil, false)
	if err := c.Alive(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(c.node.procRoot, "77/status")); err != nil {
		t.Fatal(err)
	}
	if err := c.Alive(); err == nil {
		t.Error("it is gone, and said to live")
	}
	if _, err := OpenContainer(c.node, ContainerOptions{PID: 78}); err == nil {
		t.Error("opened a process that is not there")
	}
}

func TestIDMap(t *testing.T) {
	m, err := parseIDMap("0 1000 1\n1 200000 99\n100 300000 10\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, mapped := m.toInner(200098); !mapped || got != 99 {
		t.Errorf("inner of 200098: %d, %v", got, mapped)
	}
	if got, mapped := m.toHost(100); !mapped || got != 300000 {
		t.Errorf("host of 100: %d, %v", got, mapped)
	}
	if _, mapped := m.toHost(110); mapped {
		t.Error("110 is mapped")
	}
	for _, c := range []struct {
		first, count uint64
		want         bool
	}{{0, 110, true}, {50, 60, true}, {0, 111, false}, {110, 1, false}, {5, math.MaxUint32, false}, {7, 0, true}} {
		if got := m.holds(c.first, c.count); got != c.want {
			t.Errorf("holds(%d, %d) = %v", c.first, c.count, got)
		}
	}
	for _, bad := range []string{"0 1\n", "a b c\n", strings.Repeat("0 0 1\n", maxExtents+1)} {
		if m, err := parseIDMap(bad); err == nil {
			t.Errorf("%.10q: got %v", bad, m)
		}
	}
	if diff := cmp.Diff("0→1000 +1, 1→200000 +99, 100→300000 +10", m.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJudgeOwner(t *testing.T) {
	ids := idMap{{0, 200000, 65536}}
	for _, c := range []struct {
		owner, euid uint64
		want        finding
	}{
		{201000, 201000, okf("host uid 201000, as its first process")},
		{200000, 201000, warnf("host uid 200000, its root; but its first process is host uid 201000")},
		{0, 201000, warnf("host uid 0; its first process is host uid 201000")},
	} {
		if got := judgeOwner(c.owner, c.euid, ids); got != c.want {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}

func TestJudgeTool(t *testing.T) {
	const bounding = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	good := toolFacts{path: "/usr/bin/newuidmap", caps: fileCaps{permitted: 1 << unix.CAP_SETUID}, owner: 200000, bounding: bounding, root: 200000}
	for _, c := range []struct {
		name   string
		change func(*toolFacts)
		state  State
		found  string
	}{
		{"file caps", func(*toolFacts) {}, OK, "file capabilities"},
		{"of this namespace", func(f *toolFacts) { f.caps.rootID = 200000 }, OK, ""},
		{"of another", func(f *toolFacts) { f.caps.rootID = 300000 }, Fail, "another user namespace"},
		{"no_new_privs", func(f *toolFacts) { f.noNewPrivs = true }, Fail, "no_new_privs"},
		{"nosuid", func(f *toolFacts) { f.nosuid = true }, Fail, "nosuid"},
		{"bounded", func(f *toolFacts) { f.bounding = 0 }, Fail, "bounding"},
		{"nothing", func(f *toolFacts) { f.caps = fileCaps{} }, Fail, "neither"},
		{"setuid", func(f *toolFacts) { f.caps, f.setuid = fileCaps{}, true }, Fail, "lacks CAP_SYS_ADMIN"},
		{"setuid and admin", func(f *toolFacts) {
			f.caps, f.setuid = fileCaps{}, true
			f.bounding |= 1 << unix.CAP_SYS_ADMIN
		}, OK, "setuid root"},
		{"setuid to another", func(f *toolFacts) { f.caps, f.setuid, f.owner = fileCaps{}, true, 0 }, Fail, "host uid 0"},
	} {
		f := good
		c.change(&f)
		if got := judgeTool(f, unix.CAP_SETUID); got.state != c.state || !strings.Contains(got.found, c.found) {
			t.Errorf("%s: got %+v, want %s with %q", c.name, got, c.state, c.found)
		}
	}
}
