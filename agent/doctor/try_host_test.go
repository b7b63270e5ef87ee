//go:build host

package doctor

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTryPrepared(t *testing.T) {
	b := newBox(t, tools, "", true)
	b.try(t.Context())
	for _, file := range []string{"memory.peak", "pids.peak"} { // what it costs the container
		if peak, err := os.ReadFile(filepath.Join(b.dir, "init", file)); err == nil {
			t.Logf("%s %s", file, peak)
		}
	}
	b.want(OK, "", "try-confinement", "try-userns", "try-proc", "try-overlay", "try-cgroup", "try-move", "try-clean")
	b.want(OK, "mapped 60001 ids", "try-newuidmap", "try-newgidmap")
	if b.controllers() {
		b.want(OK, "both", "try-limits")
	} else {
		b.want(Fail, "neither memory nor pids", "try-limits")
	}
}

// hostile is a newuidmap that looks for what is not its own, and tells in 1 KiB.
const hostile = tools + `
rm /usr/local/bin/newuidmap
cat >/usr/local/bin/newuidmap <<'END'
#!/bin/sh
echo "who $(id -u):$(id -g):$(id -G) env $(env | grep -vcE '^(PWD|OLDPWD|_|SHLVL)=')"
echo "fds $(cd /proc/self/fd && echo *) tty $(cat /proc/self/stat | cut -d' ' -f7)"
grep -E 'CapEff|CapAmb' /proc/self/status
for p in /proc/[0-9]*; do
	e=$(readlink $p/exe) && echo "exe ${e##*/}"
	case $e in /memfd*) (echo x >$p/exe) 2>/dev/null && echo OVERWROTE;; esac
done
(setsid sleep 75002 &)
exit 7
END
chmod 755 /usr/local/bin/newuidmap
`

// TestTryHostile: a newuidmap of the container's has and finds nothing of the node.
func TestTryHostile(t *testing.T) {
	b := newBox(t, hostile, "", true)
	seen := b.watch()
	b.try(t.Context())
	root := seen()
	said := b.result["try-newuidmap"].Found
	b.want(Fail, "who 1000:1000:1000 env 0", "try-newuidmap")
	b.want(OK, "", "try-newgidmap", "try-overlay", "try-cgroup", "try-clean")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"OVERWROTE", filepath.Base(self), "fds 0 1 2 3 4"} {
		if strings.Contains(said, bad) {
			t.Errorf("it found %q: %s", bad, said)
		}
		if strings.Contains(root, bad) {
			t.Errorf("its root found %q: %s", bad, root)
		}
	}
	if !strings.Contains(root, "memfd") {
		t.Errorf("its root saw nothing of the trial: %s", root)
	}
}

// TestTryHostIDs: a container in the node's user namespace has the machine's own
// setuid tools, and no ranges.
func TestTryHostIDs(t *testing.T) {
	c := exec.Command("sleep", "75003")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Credential: &syscall.Credential{Uid: 61001, Gid: 61001}, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	before := mountsNow(t)
	b := &box{t: t, pid: c.Process.Pid}
	b.look(t.Context(), "/")
	b.want(OK, "uid 61001, gid 61001", "try-confinement")
	b.want(OK, "", "try-userns", "try-overlay", "try-clean")
	b.want(Fail, "user name", "try-newuidmap") // it is not in /etc/passwd
	b.want(Unknown, "root cgroup", "try-cgroup")
	if mountsNow(t) != before {
		t.Error("mounts changed")
	}
}

// TestTryKilled: the trial ends with whoever wants it, or runs it, while the
// container's newuidmap hangs.
func TestTryKilled(t *testing.T) {
	const hang = tools + "printf '#!/bin/sh\\nexec sleep 75001\\n' >/usr/local/bin/newuidmap\n"
	for name, end := range map[string]func(b *box, cancel func()){
		"caller gives up": func(_ *box, cancel func()) { cancel() },
		"host is killed": func(b *box, _ func()) {
			b.kill("eyas\x00" + ProbeArg + "\x00trial-host\x00")
		},
		"inside is killed": func(b *box, _ func()) { b.kill("eyas\x00" + ProbeArg + "\x00trial-inside\x00") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, hang, "", true)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				b.until("newuidmap hangs", func(procs string) bool {
					for pid := range strings.FieldsSeq(procs) {
						if args, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.Contains(string(args), "75001") {
							return true
						}
					}
					return false
				})
				end(b, cancel)
			}()
			b.try(ctx)
			<-done
			b.want(Unknown, "", "try-userns", "try-newuidmap", "try-cgroup")
			b.want(OK, "nothing is left", "try-clean")
		})
	}
}

// TestTryUnprepared: every reason for which a container is not fit.
func TestTryUnprepared(t *testing.T) {
	filtered := filterProgram(t)
	for _, c := range []struct {
		name, setup, prefix string
		want                map[string]finding
	}{
		{"nothing", bare, "", map[string]finding{
			"try-userns": okf(""), "try-proc": okf(""), "try-overlay": okf(""), "try-clean": okf(""),
			"try-newuidmap": failf("not installed"), "try-newgidmap": failf("not installed"),
			"try-cgroup": failf("permission denied: it belongs to host uid 0"), "try-limits": unknownf("not tried"), "try-move": unknownf("not tried"),
		}},
		{"no_new_privs", tools, "setpriv --no-new-privs", map[string]finding{
			"try-confinement": okf("no_new_privs true"), "try-userns": okf(""), "try-overlay": okf(""),
			"try-newuidmap": failf("no_new_privs is on"), "try-newgidmap": failf("no_new_privs is on"),
		}},
		{"no file capabilities", tools + "setcap -r /usr/local/bin/newuidmap\n", "", map[string]finding{
			"try-newuidmap": failf("neither file capabilities nor setuid"), "try-newgidmap": okf("mapped 60001"),
		}},
		{"bounded", tools, "--bounding-set=-setgid", map[string]finding{
			"try-newuidmap": okf("mapped 60001"), "try-newgidmap": failf("not in the bounding set"),
		}},
		{"range of nobody", tools + "echo dev:100000:65536 >/etc/subuid\n", "", map[string]finding{
			"try-newuidmap": failf("outside the container's own map"), "try-newgidmap": okf("mapped 60001"),
		}},
		{"range of another", tools + "echo ops:2000:60000 >/etc/subuid\n", "", map[string]finding{
			"try-newuidmap": warnf("mapped one id"),
		}},
		{"masked proc", tools + "mount --bind /dev/null /proc/meminfo\n", "", map[string]finding{
			"try-proc": failf("mounted over: /proc/meminfo"), "try-overlay": okf(""),
		}},
		{"read-only cgroup", tools + "mount -o remount,bind,ro /sys/fs/cgroup\n", "", map[string]finding{
			"try-cgroup": failf("read-only"),
		}},
		{"no more user namespaces", tools + "echo 0 >/proc/sys/user/max_user_namespaces\n", "", map[string]finding{
			"try-userns": failf("no space left on device: at user.max_*_namespaces"), "try-newuidmap": unknownf("not tried"),
		}},
		{"seccomp", tools, filtered, map[string]finding{
			"try-confinement": okf("seccomp filters: 1"), "try-userns": failf("most likely its seccomp filter"), "try-proc": unknownf("not tried"),
		}},
		{"seccomp and no_new_privs", tools, "setpriv --no-new-privs " + filtered, map[string]finding{
			"try-confinement": okf("no_new_privs true, seccomp filters: 1"), "try-userns": failf("most likely its seccomp filter"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, c.setup, c.prefix, false)
			b.try(t.Context())
			for id, want := range c.want {
				b.want(want.state, want.found, id)
			}
		})
	}
}
