//go:build host

package prepare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// What a runtime does not tell is read from the process that its create leaves
// waiting: that has the container's user already, which nothing but the
// runtimes themselves can prove.
func TestRuntimesWaitAsUser(t *testing.T) {
	for _, name := range []string{"runc", "crun"} {
		for _, own := range []bool{true, false} {
			for _, user := range []uint32{1000, 0} {
				t.Run(fmt.Sprintf("%s, own ids %v, user %d", name, own, user), func(t *testing.T) {
					newRig(t).waitAsUser(name, own, user)
				})
			}
		}
	}
}

func (r *rig) waitAsUser(runtime string, own bool, user uint32) {
	inVM := os.Getenv("EYAS_VM") != ""
	if _, err := exec.LookPath(runtime); err != nil && !inVM {
		r.Skip(err)
	}
	p := r.open()
	defer r.close(p)
	sandbox := r.start("pause", own)
	v := Reservation{ID: "c", Owner: ledger.Owner{ContainerID: "c"}, Profile: Profiles()[0]}
	base := user
	if own {
		v.Sandbox, base = sandbox.pid(), 300000+user
	}
	before, err := p.Reserve(r.Context(), v)
	if err != nil {
		r.Fatal(err)
	}
	if !before.Lease.Unsettled || before.Lease.UID != base-user || !strings.HasPrefix(before.Subuid, "0:") {
		r.Errorf("reserved: %+v", before)
	}
	pid, out, err := r.create(runtime, sandbox, user, p.FilesDir("c"))
	if err != nil {
		if runtime == "crun" && !inVM && strings.Contains(out, "cgroup") {
			r.Skipf("crun does not work with this machine's cgroups: %s", out)
		}
		r.Fatalf("create: %v: %s", err, out)
	}
	// At once, as the request to start comes.
	at := Place{PID: pid}
	got, err := p.HandOver(r.Context(), "c", at, v.Profile)
	if err != nil {
		r.Fatal(err)
	}
	if l := got.Lease; l.UID != base || l.GID != base || l.State != ledger.Done || l.Unsettled {
		r.Errorf("handed over: %+v", l)
	}
	c := &container{cgroup: got.Lease.Cgroup}
	for _, o := range r.owners(c) {
		if !strings.HasSuffix(o, fmt.Sprintf(" of %d:%d", base, base)) {
			r.Error(o)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(r.mount, c.cgroup), &st); err != nil || st.Uid != base || st.Gid != base {
		r.Errorf("the cgroup is of %d:%d, %v", st.Uid, st.Gid, err)
	}
	want := map[bool]string{true: "0:1:65535\n", false: fmt.Sprintf("%d:%d:65536\n", user, got.Lease.Range.Start)}[own]
	if own && user == 1000 {
		want = "1000:1:999\n1000:1001:64535\n"
	}
	for _, name := range fileNames { // as the container sees them
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/etc/%s", pid, name)); err != nil || string(b) != want {
			r.Errorf("/etc/%s inside: %q, want %q: %v", name, b, want, err)
		}
	}
}

// create has a runtime create a container, in the sandbox's user namespace, and
// returns the process that waits.
func (r *rig) create(runtime string, sandbox *container, user uint32, files string) (identity.HostPID, string, error) {
	r.Helper()
	must := func(err error) {
		r.Helper()
		if err != nil {
			r.Fatal(err)
		}
	}
	dir := r.TempDir()
	must(os.Chmod(filepath.Dir(dir), 0o711)) // the container's root comes by
	root := filepath.Join(dir, "root")
	for _, d := range []string{"bin", "etc", "proc", "dev"} {
		must(os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	must(os.WriteFile(filepath.Join(root, "bin/never"), []byte("#!"), 0o755)) // it is not started
	for _, name := range fileNames {
		must(os.WriteFile(filepath.Join(root, "etc", name), nil, 0o644))
	}
	text, err := json.Marshal(config(sandbox, root, filepath.Join(r.top, "c"), user, files))
	must(err)
	must(os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644))

	r.Cleanup(r.removeV1)
	pidFile, name, state := filepath.Join(dir, "pid"), filepath.Base(r.top), filepath.Join(dir, "state")
	cmd := exec.Command(runtime, "--root", state, "create", "--bundle", dir, "--pid-file", pidFile, name)
	// The one that waits inherits the output.
	log, err := os.Create(filepath.Join(dir, "log"))
	must(err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Run()
	out, _ := os.ReadFile(log.Name())
	if err != nil {
		return 0, string(out), err
	}
	r.Cleanup(func() {
		if out, err := exec.Command(runtime, "--root", state, "delete", "--force", name).CombinedOutput(); err != nil {
			r.Errorf("delete: %v: %s", err, out)
		}
	})
	b, err := os.ReadFile(pidFile)
	must(err)
	pid, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	must(err)
	return identity.HostPID(pid), string(out), nil
}

// removeV1 removes what runc leaves of the test's cgroup in hierarchies of v1.
func (r *rig) removeV1() {
	dirs, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/*", r.top)) // its pattern is right
	for _, d := range dirs {
		if d == r.abs("") {
			continue
		}
		// cpu and cpuacct are one.
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Error(err)
		}
	}
}

func config(sandbox *container, root, cgroup string, user uint32, files string) map[string]any {
	type dict = map[string]any
	namespaces := []dict{{"type": "pid"}, {"type": "mount"}}
	linux := dict{"cgroupsPath": cgroup}
	if sandbox.own { // as containerd has it
		namespaces = append(namespaces, dict{"type": "user", "path": fmt.Sprintf("/proc/%d/ns/user", sandbox.pid())})
		whole := []dict{{"containerID": 0, "hostID": 300000, "size": 65536}}
		linux["uidMappings"], linux["gidMappings"] = whole, whole
	}
	linux["namespaces"] = namespaces
	mounts := []dict{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"mode=755"}},
	}
	for _, name := range fileNames {
		mounts = append(mounts, dict{
			"destination": "/etc/" + name, "type": "bind", "source": filepath.Join(files, name),
			"options": []string{"bind", "ro", "nosuid", "nodev", "noexec", "rprivate"},
		})
	}
	return dict{
		"ociVersion": "1.0.2", "root": dict{"path": root}, "mounts": mounts, "linux": linux,
		"process": dict{"user": dict{"uid": user, "gid": user}, "args": []string{"/bin/never"}, "cwd": "/"},
	}
}
