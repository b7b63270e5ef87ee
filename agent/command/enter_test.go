package command

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// box writes a /proc with process 42 in a container, in a cgroup with that name.
func box(t testing.TB, cgroup string) (root string) {
	t.Helper()
	root = t.TempDir()
	files := map[string]string{
		"42/stat":     "42 (sh) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0",
		"42/status":   "Name:\tsh\nTgid:\t42\nUid:\t300000\t300000\t300000\t300000\nGid:\t300000\t300000\t300000\t300000\n",
		"42/uid_map":  "0 300000 65536\n",
		"42/gid_map":  "0 300000 65536\n",
		"42/cgroup":   "0::/pod/" + cgroup + "\n",
		"1/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
	}
	for name, text := range files {
		path := filepath.Join(root, "proc", name)
		if err := os.MkdirAll(filepath.Join(filepath.Dir(path), "ns"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for who, n := range map[string]int{"42": 7, "1": 1, "self": 1} {
		for _, k := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
			path := filepath.Join(root, "proc", who, "ns", k)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(fmt.Sprintf("%s:[%d]", k, n), path); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// boxed is an agent that knows the container of box.
func boxed(name string) *agent {
	link := identity.Link{Kind: "container", ID: "33e9d68c4816", Name: name, Level: 1}
	return &agent{
		tree: []identity.TreeNode{{Link: link, InitPID: 42}},
		id:   identity.Identity{State: "live", Host: identity.Host{PID: 42}, Chain: []identity.Link{{Kind: "node"}, link}},
	}
}

const script = `(
cd /proc/42 || exit 1
[ "$(tr '\n' ' ' <stat | LC_ALL=C sed 's/.*) //' | cut -d ' ' -f 20)" = 12345 ] || { echo 'pid 42 has ended, or is another process by now: run eyas enter again' >&2; exit 1; }
nsenter=$(command -v nsenter) || { echo 'there is no nsenter here: install util-linux' >&2; exit 127; }
echo 0 > "$(printf '/sys/fs/cgroup/pod/it\047s \033[2J/cgroup.procs')" || exit 1
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM-}" "$nsenter" --user=ns/user --mount=ns/mnt --pid=ns/pid --net=ns/net --ipc=ns/ipc --uts=ns/uts --cgroup=ns/cgroup --time=ns/time --root=root --wd=root --setgid=0 --setuid=0 -- ls '$HOME'
)
`

func TestEnter(t *testing.T) {
	root := box(t, "it's \x1b[2J")
	socket := serve(t, boxed("w\x1beb"))
	code, out, errs := runIn(t, root, "enter", "33e9d68c4816", "--socket", socket, "--", "ls", "$HOME")
	same(t, "script", []any{0, script, "eyas: w\\x1beb: by pid 42, as uid 0 and gid 0 (host 300000 and 300000)\n"}, []any{code, out, errs})

	code, out, errs = runIn(t, root, "enter", "33e9", "--socket", socket, "-u", "5:6", "-o", "json")
	var got struct {
		Container, Script string
		PID               uint32
		HostUID           uint32 `json:"host_uid"`
		HostGID           uint32 `json:"host_gid"`
		Cgroups           []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || errs != "" {
		t.Fatalf("%d %v %s", code, err, errs)
	}
	if !printable(out) || got.Container != "33e9d68c4816" || got.PID != 42 || got.HostUID != 300005 || got.HostGID != 300006 ||
		got.Cgroups[0] != "/sys/fs/cgroup/pod/it's \x1b[2J" || !strings.Contains(got.Script, "--setgid=6 --setuid=5 ") {
		t.Errorf("%s", out)
	}
}

func TestEnterErrors(t *testing.T) {
	root := box(t, "c")
	other := boxed("web")
	other.id.Chain = other.id.Chain[:1] // its pid is a process of the node by now
	nobody := &agent{}
	unknown := &agent{err: fmt.Errorf("x: %w", identity.ErrNoContainer)}
	dead := boxed("web")
	dead.tree[0].InitPID, dead.id.Host.PID = 43, 43
	for name, c := range map[string]struct {
		a    *agent
		args string
		code int
		want string
	}{
		"nothing":         {boxed("web"), "", exitUsage, "want one CHAIN"},
		"two":             {boxed("web"), "web sh", exitUsage, "what is to be run after --"},
		"user":            {boxed("web"), "web -u dev", exitUsage, "--user: want UID or UID:GID in numbers"},
		"group":           {boxed("web"), "web -u 1:", exitUsage, "--user: want UID or UID:GID"},
		"nobody's id":     {boxed("web"), "web -u 4294967295", exitUsage, "--user: want UID"},
		"run as JSON":     {boxed("web"), "web --run -o json", exitUsage, "exclude each other"},
		"unmapped":        {boxed("web"), "web -u 65536", exitFailed, "does not map uid 65536"},
		"ended":           {nobody, "web", exitNotFound, "it has ended"},
		"never there":     {unknown, "web", exitNotFound, "no such container"},
		"reused":          {other, "web", exitNotFound, "no process lives right in it"},
		"ended meanwhile": {dead, "web", exitNotFound, "has ended meanwhile: try again"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"enter", "--socket", serve(t, c.a)}, strings.Fields(c.args)...)
			code, out, errs := runIn(t, root, args...)
			if code != c.code || out != "" || !strings.Contains(errs, c.want) {
				t.Errorf("%d %q %s", code, out, errs)
			}
		})
	}
}
