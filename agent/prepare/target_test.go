package prepare

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree is a procfs, or a cgroup2 mount, of files.
type tree struct {
	t   *testing.T
	dir string
}

func (f tree) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// fakeProc has process 70, user 1000 of a map from 300000 on, in cgroup /c/init.
func fakeProc(t *testing.T) tree {
	f := tree{t, t.TempDir()}
	f.write("70/status", "Name:\tx\nTgid:\t70\nPid:\t70\nUid:\t301000\t301000\t301000\t301000\nGid:\t301001\t301001\t301001\t301001\n")
	f.write("70/stat", "70 (x) S 1 70 70 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
	f.write("70/cgroup", "9:name=systemd:/\n0::/c/init\n")
	f.write("70/uid_map", "0 300000 65536\n")
	f.write("70/gid_map", "0 300000 65536\n")
	f.write("70/ns/user", "")
	f.write("self/ns/user", "")
	return f
}

func TestDescribe(t *testing.T) {
	f, mount := fakeProc(t), tree{t, t.TempDir()}
	mount.write("c/cgroup.procs", "")
	got, err := Describe(f.dir, mount.dir, 70)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "pid-70-4242" || got.Cgroup != "/c" || got.CgroupID == 0 || !got.OwnIDs || got.UID != 301000 || got.GID != 301001 || len(got.UIDs) != 1 {
		t.Errorf("%+v", got)
	}
	for name, tc := range map[string]struct {
		file, text, want string
	}{
		"a thread":          {"70/status", "Name:\tx\nTgid:\t69\nPid:\t70\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n", "its process, pid 69"},
		"root cgroup":       {"70/cgroup", "0::/\n", "root cgroup"},
		"init of the root":  {"70/cgroup", "0::/init\n", "root cgroup"},
		"no v2":             {"70/cgroup", "9:name=systemd:/c\n", "root cgroup"},
		"cgroup namespace":  {"70/cgroup", "0::/../c\n", "run eyas in the host's"},
		"cgroup is gone":    {"70/cgroup", "0::/d (deleted)\n", "look at its cgroup"},
		"map":               {"70/uid_map", "x\n", "id maps"},
		"hostile cgroup":    {"70/cgroup", "0::/\x1b[31m\n", `"/\x1b[31m"`},
		"status is garbage": {"70/stat", "70\n", ""},
	} {
		f := fakeProc(t)
		f.write(tc.file, tc.text)
		_, err := Describe(f.dir, mount.dir, 70)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	for _, gone := range []string{"70", "70/uid_map", "70/ns/user", "70/cgroup", "70/stat"} {
		f := fakeProc(t)
		if err := os.RemoveAll(filepath.Join(f.dir, gone)); err != nil {
			t.Fatal(err)
		}
		if _, err := Describe(f.dir, mount.dir, 70); err == nil || !strings.Contains(err.Error(), "no such process") {
			t.Errorf("without %s: %v", gone, err)
		}
	}
}

func TestEachMount(t *testing.T) {
	var got []string
	err := eachMount(strings.NewReader("22 27 0:21 / / rw shared:7 master:3 - ext4 /dev/x rw\n23 22 0:21 / /a\\040shared:9 rw - tmpfs - rw\n"), func(id uint64, group string) {
		got = append(got, fmt.Sprint(id, " ", group))
	})
	if err != nil || strings.Join(got, ",") != "22 7,23 " {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"x", "1 2 3 4 5 6 7\n", "x 27 0:21 / / rw - a b c\n"} {
		if err := eachMount(strings.NewReader(text), func(uint64, string) {}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
