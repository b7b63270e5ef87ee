package identity

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

func TestOutside(t *testing.T) {
	for _, tc := range []struct {
		root, path string
		want       bool
	}{
		{"/a", "/a", false}, {"/a", "/a/b", false}, {"/a", "/ab", true}, {"/a", "/", true}, {"/a", "/b/a", true}, {"/a/b", "/a", true},
		{"/a/", "/a/b", false}, {"/a/", "/ab", true}, {"/", "/b", false}, {"", "/b", false}, {"/a", "", false},
	} {
		if got := outside(tc.path, &Container{Root: tc.root}); got != tc.want {
			t.Errorf("%q outside %q: %v", tc.path, tc.root, got)
		}
	}
	if outside("/a", nil) {
		t.Error("nothing is outside the node")
	}
}

// The cgroup is the second witness: a container, and a process, that lives
// outside the container around it is said to have escaped.
func TestEscapes(t *testing.T) {
	paths := map[uint64]string{1: "/pod.slice/web.scope/init", 2: "/pod.slice/web.scope/sub", 3: "/other", 4: "/pod.slice/web.scope2", 5: ""}
	table := NewTable(Options{
		CgroupPath: func(id uint64) string { return paths[id] },
		CgroupRoot: func(path, around string) string {
			if root, _, ok := strings.Cut(path, ".scope/"); ok && around == "" {
				return root + ".scope"
			}
			return path
		},
	})
	web := host().unsharePID(10, 100)
	db := web.unsharePID(11, 110)
	apply(table, web.fork(50, 1, 100), db.in(2).fork(51, 50, 110), db.in(2).fork(52, 51, 120))
	want := []box{
		{Path: "p10", User: hostUserNS, Live: 1, Peak: 1, Children: 1, Init: 50, Cgroup: paths[1]},
		{Path: "p10/p11", User: hostUserNS, Live: 2, Peak: 2, Init: 51, Cgroup: paths[2]},
	}
	if d := cmp.Diff(want, boxes(table)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, tc := range []struct {
		name         string
		record       any
		first, other bool   // outside: the container with its first process, the other process
		cgroup       string // the container's
	}{
		{"other process leaves", &bpf.Attach{Time: 200, Start: 120, PID: 52, Cgroup: 3}, false, true, paths[2]},
		{"first leaves", &bpf.Attach{Time: 210, Start: 110, PID: 51, Cgroup: 4}, true, true, paths[4]},
		{"unknown is not accused", &bpf.Attach{Time: 220, Start: 120, PID: 52, Cgroup: 5}, true, false, paths[4]},
		{"another of the pid", &bpf.Attach{Time: 230, Start: 119, PID: 52, Cgroup: 3}, true, false, paths[4]},
		{"nobody", &bpf.Attach{Time: 230, Start: 119, PID: 99, Cgroup: 3}, true, false, paths[4]},
		{"first returns, seen by a snapshot", db.in(1).task(bpf.KindTask, 51, 50, 110, 240), false, false, paths[1]},
		{"first goes where nobody knows", &bpf.Attach{Time: 241, Start: 110, PID: 51, Cgroup: 5}, false, false, paths[1]},
		{"an old move", &bpf.Attach{Time: 239, Start: 110, PID: 51, Cgroup: 3}, false, false, paths[1]},
		{"other execs outside", db.in(3).task(bpf.KindExec, 52, 51, 120, 250), false, true, paths[1]},
		{"the last of many moves counts", &bpf.Attach{Time: 250, Start: 120, PID: 52, Cgroup: 2}, false, false, paths[1]},
	} {
		apply(table, tc.record)
		audit(t, table)
		c := table.Containers()[1]
		if first, other := table.Process(51), table.Process(52); c.Escaped != tc.first || first.Outside != tc.first || other.Outside != tc.other || c.Cgroup != tc.cgroup {
			t.Errorf("%s: container %v in %q, first %v, other %v", tc.name, c.Escaped, c.Cgroup, first.Outside, other.Outside)
		}
	}
	if c := table.Containers()[0]; c.Escaped || c.Root != "/pod.slice/web.scope" {
		t.Errorf("the outer container: %+v", c)
	}
	apply(table, exit(50, 100, 300), exit(51, 110, 300), exit(52, 120, 300))
	empty(t, table)
}

// What a container is called when nothing better is known.
func TestDescribeContainer(t *testing.T) {
	web := host().unsharePID(10, 100)
	named := func(p *bpf.Process, comm, node string) *bpf.Process { p.Comm, p.Nodename = comm, node; return p }
	run := func(p *bpf.Process, argv ...string) *bpf.Process { p.HasArgs, p.Argv = true, argv; return p }
	table := NewTable(Options{})
	apply(table, named(web.fork(51, 50, 110), "child", "early")) // seen first
	c := table.Containers()[0]
	type said struct {
		Init           HostPID
		Comm, Nodename string
	}
	for _, tc := range []struct {
		name   string
		record *bpf.Process
		want   said
	}{
		{"the first seen speaks", named(web.fork(52, 51, 115), "late", "x"), said{51, "child", "early"}},
		{"pid 1 speaks instead", named(web.task(bpf.KindTask, 50, 1, 100, 120), "init", "web"), said{50, "init", "web"}},
		{"and others no more", named(web.task(bpf.KindExec, 51, 50, 110, 130), "sh", "y"), said{50, "init", "web"}},
		{"an exec renames", named(web.task(bpf.KindExec, 50, 1, 100, 140), "nginx", ""), said{50, "nginx", "web"}},
		{"by its arguments, as its file is its own", run(named(web.task(bpf.KindExec, 50, 1, 100, 141), "exe", ""), "/usr/bin/podman", "exe"), said{50, "podman", "web"}},
		{"not by arguments that are no name", run(named(web.task(bpf.KindExec, 50, 1, 100, 142), "exe", ""), "/"), said{50, "exe", "web"}},
		{"nor by long ones", run(named(web.task(bpf.KindExec, 50, 1, 100, 143), "exe", ""), "0123456789abcdef"), said{50, "exe", "web"}},
		{"also from a user namespace further in", named(web.unshareUser(20, 200, 0).task(bpf.KindExec, 50, 1, 100, 150), "go", "z"), said{50, "go", "z"}},
	} {
		apply(table, tc.record)
		if d := cmp.Diff(tc.want, said{c.Init.PID, c.InitComm, c.Nodename}); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
	}
	// A child runs its parent's program until it execs.
	exec := named(web.task(bpf.KindExec, 51, 50, 110, 160), "sh", "")
	exec.HasArgs, exec.Exe, exec.Argv, exec.ArgvCut = true, "/bin/sh", []string{"sh", "-c"}, true
	apply(table, exec, named(web.fork(53, 51, 170), "sh", ""), named(web.fork(54, 51, 170), "renamed", ""), named(web.fork(55, 99, 170), "sh", ""))
	if p := table.Process(53); p.Exe != "/bin/sh" || len(p.Argv) != 2 || !p.ArgvCut {
		t.Errorf("child: %+v", p)
	}
	if a, b := table.Process(54), table.Process(55); a.Exe+b.Exe != "" || a.ArgvCut || b.Argv != nil {
		t.Errorf("others: %+v, %+v", a, b)
	}
}
