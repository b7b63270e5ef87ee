//go:build host

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// denialCases are refusals as real tools meet them: the command, what it prints,
// and what eyas tells: op, error, cause, and capability or limit; then a part of the words.
var denialCases = []struct{ command, prints, want, says, hook string }{
	{"touch mine; chown 5000 mine", "Invalid argument", "chown EINVAL id_unmapped", "uid 5000 is outside its map (0-999→300000-300999)", ""},
	{"chown 0:0 /tmp/eyas-node-file", "Operation not permitted", "chown EPERM owner_unmapped", "host uid 7 and host gid 7", ""},
	{"cat /tmp/eyas-node-file", "Permission denied", "access EACCES owner_unmapped", "shows as 65534", ""},
	{"chmod 644 /tmp/eyas-node-file", "Operation not permitted", "chmod EPERM other", "does not own the file", ""},
	{"/tmp/busybox-eyas true", "", "", "", ""},              // may be executed and not read
	{"/tmp/busybox-eyas ls /proc/self/fd", "0", "", "", ""}, // which nobody may look into, but itself
	{"/tmp/busybox-eyas-shut true", "Permission denied", "access EACCES owner_unmapped", "host uid 7", ""},
	{"cat /tmp/eyas-mapped/file", "Permission denied", "access EACCES owner_unmapped", "host uid 5007 and host gid 5007", idMapped},
	{"echo root:5000:10 >s; busybox mount --bind s /etc/subuid; unshare --user sleep 1000 & newuidmap $! 0 5000 10; kill $!", "write to uid_map failed: Operation not permitted", "uid_map EPERM other", "the writer's user namespace does not map", ""},
	{"mknod disk b 8 0", "Operation not permitted", "mknod EPERM capability CAP_MKNOD", "the node's user namespace", ""},
	{"hostname other", "must be root", "sethostname EPERM capability CAP_SYS_ADMIN", "UTS namespace of its own", ""},
	{"busybox mount -t ext4 /dev/vda /mnt", "denied", "mount EPERM capability CAP_SYS_ADMIN", "the node's user namespace", ""},
	{"nsenter --uts=/proc/self/fd/3 true", "Operation not permitted", "setns EPERM capability CAP_SYS_ADMIN", "setns with a UTS namespace", ""},
	{"setpriv --reuid 5000 true", "Invalid argument", "setuid EINVAL id_unmapped", "setuid to uid 5000", ""},
	{"setpriv --regid 6000 --clear-groups true", "Invalid argument", "setgid EINVAL id_unmapped", "gid 6000 is outside its map", ""},
	{"setpriv --reuid 5 --regid 5 --clear-groups chroot / true", "Operation not permitted", "chroot EPERM capability CAP_SYS_CHROOT", "--cap-add SYS_CHROOT", ""},
	{"setpriv --reuid 5 --regid 5 --clear-groups setpriv --reuid 6 true", "Operation not permitted", "setuid EPERM capability CAP_SETUID", "lacks CAP_SETUID", ""},
	{"setpriv --reuid 5 --regid 5 --clear-groups setpriv --groups 6 true", "Operation not permitted", "setgroups EPERM capability CAP_SETGID", "lacks CAP_SETGID", "denials_setgroups"},
	{"prlimit --nofile=50:50 prlimit --nofile=60:60 true", "Operation not permitted", "setrlimit EPERM capability CAP_SYS_RESOURCE", "from outside", ""},
	{"nice -n -5 true", "Permission denied", "scheduling EACCES capability CAP_SYS_NICE", "the node's", ""},
	{"date -s 2030-01-01", "cannot set date", "clock_settime EPERM capability CAP_SYS_TIME", "the whole node", ""},
	{"busybox insmod /etc/passwd", "insmod", "module EPERM capability CAP_SYS_MODULE", "loading a kernel module", "denials_finit_module"},
	{"echo 0 0 1 > /proc/self/uid_map", "I/O error", "uid_map EPERM other", "the map was written before", ""},
	{"echo deny > /proc/self/setgroups", "I/O error", "setgroups_file EPERM other", "before the gid map", ""},
	{"prlimit --nproc=1 setpriv --reuid 9 --regid 9 --clear-groups sh -c '/bin/true; :'", "fork", "fork EAGAIN process_limit", "RLIMIT_NPROC", ""},
	{"test -w /tmp/eyas-node-file && echo writable", "", "", "", ""}, // asked, not refused
	{"busybox umount /sys", "", "", "", ""}, // EINVAL: locked mounts are no matter of rights
	{"echo 0 > /proc/sys/user/max_inotify_instances; timeout 5 tail -n 0 -f /etc/passwd; echo 100 > /proc/sys/user/max_inotify_instances", "inotify", "inotify EMFILE userns_limit max_inotify_instances", "user.max_inotify_instances", "denials_inotify_init"},
	{"echo 0 > /proc/sys/user/max_user_namespaces; unshare --user true", "No space left", "unshare ENOSPC userns_limit max_user_namespaces", "unshare with a user namespace", ""},
	{"unshare --user --net true", "No space left", "unshare ENOSPC userns_limit max_user_namespaces", "raise it where it is lowest", ""},
}

// ambiguous are the programs whose system call 6.1 has two functions of; see
// denials.bpf.c.
var ambiguous = map[string]bool{
	"denials_add_key": true, "denials_bpf": true, "denials_finit_module": true, "denials_init_module": true, "denials_inotify_init1": true,
	"denials_inotify_watch": true, "denials_keyctl": true, "denials_setgroups": true,
}

// release is the kernel's.
func release(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// attempts is how often a command tries, as strace shows, if not once.
var attempts = map[string]uint64{"nsenter --uts=/proc/self/fd/3 true": 2, "busybox insmod /etc/passwd": 3}

// TestDenials makes real tools meet refusals in a container: each is told with
// its cause, counted exactly, and nothing else is.
func TestDenials(t *testing.T) {
	a := startAgent(t, "", "--denials=true")
	states := denialHooks(t, a)
	if strings.Contains(states["denials_fork"], refused) {
		_, stderr, code := a.eyas("explain", "pid", "1")
		if code != 1 || !strings.Contains(stderr, "what was refused is not known here: missing: load: operation not permitted") {
			t.Errorf("explain says %d: %s", code, stderr)
		}
		if f := a.families(); f["eyas_denials_total"] != nil {
			t.Error("denial series without hooks")
		}
		t.Skip("this kernel refuses trampolines, and the agent says so: " + states["denials_fork"])
	}
	for name, state := range states {
		switch {
		case state == "active: ":
		case ambiguous[name] && strings.HasPrefix(release(t), "6.1.") && strings.Contains(state, "multiple matching types"):
			t.Logf("%s is %s", name, state)
			delete(states, name)
		default:
			t.Errorf("%s is %s", name, state)
		}
	}
	denialFiles(t, states)
	cgroup, have := cgroupOfOwn(t, map[string]string{"pids.max": "50"})
	s := startShell(t, cgroup, false)
	chain := a.container(s.pid)

	// What succeeds is no refusal.
	s.do("busybox mount -t tmpfs tmpfs /mnt; touch /mnt/a; chown 5:6 /mnt/a; chmod 600 /mnt/a; cat /etc/passwd >/mnt/b; busybox umount /mnt; test -r /tmp/eyas-node-file")
	s.do("unshare --uts hostname inner; setpriv --reuid 5 --regid 5 --clear-groups id; mkdir d; unshare --user --map-root-user --mount --pid --fork true")
	if got := a.refusals(chain); len(got) != 0 {
		t.Errorf("told of refusals where there were none: %v", got)
	}

	times := map[string]uint64{}
	for _, tc := range denialCases {
		if tc.hook != "" && states[tc.hook] == "" {
			continue // missing, as told above
		}
		before := a.refusals(chain)
		out := s.do(tc.command)
		if !strings.Contains(out, tc.prints) {
			t.Errorf("%s: printed %q, want %q", tc.command, out, tc.prints)
		}
		after := a.refusals(chain)
		for k, r := range after {
			if k == tc.want && !strings.HasPrefix(k, "fork ") && r.Count != before[k].Count+max(attempts[tc.command], 1) {
				t.Errorf("%s: counted %d times", tc.command, r.Count-before[k].Count)
			}
			if r.Count != before[k].Count && k != tc.want {
				t.Errorf("%s (%s): told of %s as well: %s", tc.command, strings.TrimSpace(out), k, r.Refusal.Cause)
			}
		}
		if tc.want == "" {
			continue
		}
		times[tc.want]++
		r, ok := after[tc.want]
		if !ok || r.Count == before[tc.want].Count {
			t.Errorf("%s (%s): not told as %s", tc.command, strings.TrimSpace(out), tc.want)
			continue
		}
		if words := r.What + " " + r.Refusal.Cause + " " + r.Fix; !strings.Contains(words, tc.says) {
			t.Errorf("%s: %q says nothing of %q", tc.command, words, tc.says)
		}
		if r.Host.UID < 300000 || r.Host.UID > 300999 || r.Host.PID == 0 || len(r.PIDs) != 2 || r.UserLevel != 1 {
			t.Errorf("%s: who: %+v", tc.command, r.DenialAnswer)
		}
	}
	denialsOfProcesses(t, a, s)
	// A container inside that dies of it.
	s.do("unshare --pid --fork mknod disk b 8 0")
	if r := a.refusals(chain)["inside: mknod EPERM capability CAP_MKNOD"]; r.Count != 1 || len(r.Chain) != 3 || r.UserLevel != 1 {
		t.Errorf("of a container that is gone: %+v", r.DenialAnswer)
	}
	if have["pids"] {
		s.do("for i in $(seq 60); do sleep 60 & done")
		if r := a.refusals(chain)["fork EAGAIN pids_max"]; r.Count == 0 || !strings.Contains(r.Refusal.Cause, "pids.max") {
			t.Errorf("at pids.max: %+v", a.refusals(chain))
		}
	}
	// On /metrics is the same, by cause.
	want := map[string]float64{}
	for _, r := range a.refusals(chain) {
		if !strings.HasPrefix(r.Op, "inside: ") { // that one is gone, and its series with it
			want[r.DenialAnswer.Cause] += float64(r.Count)
		}
	}
	got := map[string]float64{}
	for _, m := range a.families()["eyas_denials_total"].GetMetric() {
		if label(m, "container") == chain {
			got[label(m, "cause")] = value(m)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-want +got):\n%s", d)
	}
	t.Logf("%d kinds of refusals", len(times))
	s.do("kill -9 -1")
	if have["pids"] {
		if err := os.WriteFile(filepath.Join(cgroup, "pids.max"), []byte("max"), 0); err != nil {
			t.Fatal(err)
		}
	}
	denialsOfFewIDs(t, a, cgroup, states["denials_setgroups"] != "")
}

// denialsOfFewIDs: a user who maps its own gid alone may not drop groups, and may
// make no more cgroups than it is let.
func denialsOfFewIDs(t *testing.T, a *agent, cgroup string, setgroups bool) {
	s := startShell(t, cgroup, true)
	chain := a.container(s.pid)
	if out := s.do("setpriv --groups 5 true"); !strings.Contains(out, "Operation not permitted") {
		t.Errorf("printed %q", out)
	}
	r := a.refusals(chain)["setgroups EPERM other"]
	if setgroups && (r.Count != 1 || !strings.Contains(r.Refusal.Cause, "setgroups is denied")) {
		t.Errorf("%+v", a.refusals(chain))
	}
	dir := filepath.Join(cgroup, "made")
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.max.descendants"), []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(cgroup, 300000, 300000); err != nil {
		t.Fatal(err)
	}
	out := s.do(fmt.Sprintf("mkdir %s %[1]s2; rmdir %[1]s", dir))
	if r := a.refusals(chain)["cgroup EAGAIN cgroup_limit"]; r.Count != 1 || !strings.Contains(out, "temporarily unavailable") {
		t.Errorf("%q: %+v", out, a.refusals(chain))
	}
}
