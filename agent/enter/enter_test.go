package enter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// world is a /proc with a node, eyas, and process 42 in a container.
type world map[string]string

func container() world {
	w := world{
		"42/stat":      "42 (a) S b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0",
		"42/status":    "Name:\tsh\nTgid:\t42\nUid:\t301000\t301000\t301000\t301000\nGid:\t301000\t301007\t301007\t301007\n",
		"42/uid_map":   "0 300000 65536\n",
		"42/gid_map":   "0 300000 65536\n",
		"42/cgroup":    "0::/kubepods/pod1/c1\n",
		"1/mountinfo":  "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
		"self/uid_map": "0 0 4294967295\n", "self/gid_map": "0 0 4294967295\n",
	}
	for _, k := range kinds {
		for who, n := range map[string]int{"42": 7, "1": 1, "self": 1} {
			w[who+"/ns/"+k.file] = fmt.Sprintf("-> %s:[%d]", k.file, n)
		}
	}
	return w
}

func (w world) with(path, text string) world { w[path] = text; return w }

func (w world) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range w {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, link := strings.CutPrefix(text, "-> "); link {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func ptr[T any](v T) *T { return &v }

func TestPlan(t *testing.T) {
	all := []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"}
	argv := func(uid, gid int, rest ...string) (out []string) {
		out = append(out, "nsenter", "--user=ns/user", "--mount=ns/mnt", "--pid=ns/pid", "--net=ns/net", "--ipc=ns/ipc", "--uts=ns/uts",
			"--cgroup=ns/cgroup", "--time=ns/time", "--root=root", "--wd=root", fmt.Sprintf("--setgid=%d", gid), fmt.Sprintf("--setuid=%d", uid), "--")
		return append(out, rest...)
	}
	env := func(home string) []string { return []string{"PATH=" + path, "HOME=" + home} }
	groups := []string{"/sys/fs/cgroup/kubepods/pod1/c1"}
	host := container().with("42/uid_map", "0 0 4294967295\n").with("42/gid_map", "0 0 4294967295\n")
	delete(host, "42/ns/time")
	delete(host, "1/ns/time")
	delete(host, "self/ns/time")
	for _, k := range []string{"user", "net"} {
		host["42/ns/"+k] = host["self/ns/"+k]
	}
	pod := container() // eyas in a pod beside, in namespaces of its own; the process shares the node's network
	for _, k := range kinds[1:] {
		pod["self/ns/"+k.file] = fmt.Sprintf("-> %s:[3]", k.file)
	}
	pod["42/ns/user"], pod["42/ns/net"] = pod["1/ns/user"], pod["1/ns/net"]
	pod["42/ns/pid"] = pod["self/ns/pid"] // which the node has not
	for name, c := range map[string]struct {
		w    world
		o    Options
		want Plan
	}{
		"root": {container(), Options{}, Plan{Namespaces: all, HostUID: 300000, HostGID: 300000, Cgroups: groups, Env: env("/root"), Argv: argv(0, 0, "sh")}},
		"command": {container(), Options{Command: []string{"ls", "a b"}, NoCgroup: true},
			Plan{Namespaces: all, HostUID: 300000, HostGID: 300000, Env: env("/root"), Argv: argv(0, 0, "ls", "a b")}},
		"its user has its group": {container(), Options{User: &User{UID: 1000}},
			Plan{Namespaces: all, UID: 1000, GID: 1007, HostUID: 301000, HostGID: 301007, Cgroups: groups, Env: env("/"), Argv: argv(1000, 1007, "sh")}},
		"another user": {container(), Options{User: &User{UID: 7}},
			Plan{Namespaces: all, UID: 7, GID: 7, HostUID: 300007, HostGID: 300007, Cgroups: groups, Env: env("/"), Argv: argv(7, 7, "sh")}},
		"user and group": {container(), Options{User: &User{UID: 7, GID: ptr(identity.GID(9))}},
			Plan{Namespaces: all, UID: 7, GID: 9, HostUID: 300007, HostGID: 300009, Cgroups: groups, Env: env("/"), Argv: argv(7, 9, "sh")}},
		"no root": {container().with("42/uid_map", "1000 301000 1\n"), Options{}, Plan{
			Namespaces: all, UID: 1000, GID: 1007, HostUID: 301000, HostGID: 301007, Cgroups: groups, Env: env("/"), Argv: argv(1000, 1007, "sh"),
			Notes: []string{"its user namespace has no root: uid 1000 is its process's"},
		}},
		"no user namespace, no time": {host, Options{}, Plan{
			Namespaces: []string{"mnt", "pid", "ipc", "uts", "cgroup"}, Cgroups: groups, Env: env("/root"),
			Argv: []string{"nsenter", "--mount=ns/mnt", "--pid=ns/pid", "--ipc=ns/ipc", "--uts=ns/uts", "--cgroup=ns/cgroup", "--root=root", "--wd=root", "--setgid=0", "--setuid=0", "--", "sh"},
		}},
		"for the node, asked in a pod": {pod, Options{}, Plan{
			Namespaces: []string{"mnt", "pid", "net", "ipc", "uts", "cgroup", "time"}, HostUID: 300000, HostGID: 300000, Cgroups: groups, Env: env("/root"),
			Argv: []string{"nsenter", "--mount=ns/mnt", "--pid=ns/pid", "--net=ns/net", "--ipc=ns/ipc", "--uts=ns/uts", "--cgroup=ns/cgroup", "--time=ns/time",
				"--root=root", "--wd=root", "--setgid=0", "--setuid=0", "--", "sh"},
		}},
		"hybrid": {
			container().with("42/cgroup", "9:name=systemd:/s\n5:cpu,cpuacct:/a/b\n4:memory:/c\n3:pids:/\n2:freezer:/x\n0::/\n").with("1/mountinfo",
				"30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"+
					"32 23 0:28 /c /mnt/memory rw - cgroup cgroup rw,memory\n33 23 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"),
			Options{}, Plan{
				Namespaces: all, HostUID: 300000, HostGID: 300000, Env: env("/root"), Argv: argv(0, 0, "sh"),
				Cgroups: []string{"/sys/fs/cgroup/systemd/s", "/sys/fs/cgroup/cpu,cpuacct/a/b", "/mnt/memory"},
				Notes: []string{
					"its cgroup of freezer is not joined: that hierarchy is not mounted",
					"it is in the root cgroup: what you start there has no limit, as it has none itself",
				},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Proc, c.o.PID = c.w.write(t), 42
			c.want.PID, c.want.StartTicks = 42, 12345
			target, err := Open(c.o)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			if diff := cmp.Diff(c.want, target.Plan); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	shared := container()
	for _, k := range kinds {
		shared["42/ns/"+k.file] = shared["self/ns/"+k.file]
	}
	stat := container()["42/stat"]
	for name, c := range map[string]struct {
		w    world
		o    Options
		want string
		is   error
	}{
		"nobody":           {world{"1/stat": ""}, Options{}, "has ended", ErrEnded},
		"zombie":           {container().with("42/stat", strings.Replace(stat, "b) S", "b) Z", 1)), Options{}, "zombie", ErrEnded},
		"the node":         {shared, Options{}, "nothing to enter", nil},
		"no such uid":      {container(), Options{User: &User{UID: 65536}}, "does not map uid 65536: it has 0-65535", nil},
		"no such gid":      {container().with("42/gid_map", "0 300000 1\n5 301007 1\n"), Options{User: &User{UID: 7}}, "does not map gid 7: it has 0, 5: say which with --user UID:GID", nil},
		"no map":           {container().with("42/uid_map", "").with("42/gid_map", ""), Options{}, "it has none", nil},
		"foreign cgroups":  {container().with("42/cgroup", "0::/../x\x1b\n"), Options{}, "is not in the cgroup namespace of eyas", nil},
		"cgroup unmounted": {container().with("1/mountinfo", ""), Options{}, "no mounted cgroup2", nil},
		"frozen":           {container().with("1/root/sys/fs/cgroup/kubepods/pod1/c1/cgroup.events", "populated 1\nfrozen 1\n"), Options{}, "--no-cgroup", ErrFrozen},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Proc, c.o.PID = c.w.write(t), 42
			_, err := Open(c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	thawed := container().with("1/root/sys/fs/cgroup/kubepods/pod1/c1/cgroup.events", "populated 1\nfrozen 1\n")
	target, err := Open(Options{Proc: thawed.write(t), PID: 42, NoCgroup: true})
	if err != nil {
		t.Fatal(err)
	}
	target.Close()
}
