//go:build host

package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/test/storm/stormtest"
)

const asUser = "setpriv --reuid 5 --regid 5 --clear-groups "

// traceCases are refusals that have no program of their own: the command, what it
// prints, what a trace tells of it, and what it does where the end of system calls is
// all that the kernel lets programs see; then a part of the words.
var traceCases = []struct{ command, prints, want, poor, says string }{
	{"echo >mine; chmod 600 mine; " + asUser + "cat mine", "Permission denied", "call EACCES mode openat", "call EACCES other openat", "mode 0600, of host uid 300000 and gid 300000"},
	{"mkdir shut; chmod 700 shut; " + asUser + "cat shut/x", "Permission denied", "call EACCES mode openat", "call EACCES other openat", "directory, mode 0700"},
	{"busybox mount -t tmpfs -o ro tmpfs /mnt; touch /mnt/x; busybox umount /mnt", "Read-only", "call EROFS other openat", "call EROFS other openat", "read-only there"},
	{"busybox mount -t tmpfs -o size=4k tmpfs /mnt; head -c 100000 /dev/zero >/mnt/x; busybox umount /mnt", "No space", "call ENOSPC other write", "call ENOSPC other write", "is full"},
	{"unshare --user --mount sleep 1000 & p=$!; while [ $(readlink /proc/$p/ns/mnt) = $(readlink /proc/self/ns/mnt) ]; do :; done; echo 0 100 10 >/proc/$p/uid_map; echo 0 100 10 >/proc/$p/gid_map; " +
		"nsenter --user --mount -t $p busybox mount -t tmpfs tmpfs /mnt; touch /proc/$p/root/mnt/x; kill $p", "Value too large", "call EOVERFLOW id_unmapped openat", "call EOVERFLOW id_unmapped openat", "not mapped in the user namespace that the file system is of"},
	{"busybox swapoff /mnt", "Operation not permitted", "call EPERM capability CAP_SYS_ADMIN swapoff", "call EPERM other swapoff", "swapoff refused"},
	{"busybox swapon /mnt", "Operation not permitted", "call EPERM capability CAP_SYS_ADMIN swapon", "call EPERM other swapon", "swapon refused"}, // for want of the same
	{asUser + "cat fuse/d/x", "Permission denied", "call EACCES file_server openat", "call EACCES other openat", "allow_other"},
	{"ls NFS/d", "Permission denied", "call EACCES file_server openat", "call EACCES other openat", "root_squash"},
	{"chown 5 NFS/f", "Operation not permitted", "chown EPERM file_server", "call EPERM other fchownat", "root_squash"},
	{"./storm filtered busybox mkdir d", "Operation not permitted", "call EPERM seccomp mkdir", "call EPERM other mkdir", "answers mkdir with EPERM"},
	{"./storm filtered busybox sync", "", "call ENOSYS seccomp sync", "", "older call"},
	{"mknod disk b 8 0", "Operation not permitted", "mknod EPERM capability CAP_MKNOD", "call EPERM other mknodat", "refused"}, // has a program
	{"cat /nowhere; test -w /etc/passwd; mkdir l/d; busybox mount -t tmpfs tmpfs /mnt; touch /mnt/a; busybox umount /mnt", "File exists", "", "", ""},
}

// TestDenialsTraced makes real tools meet refusals that are told while they are traced:
// each once, with its cause, and nothing else; and nothing after it.
func TestDenialsTraced(t *testing.T) {
	a := startAgent(t, "", "--denials=true", "--denials-seccomp=true")
	states := denialHooks(t, a)
	whole := !strings.Contains(states["denials_fork"], refused)
	if got := states["denials_seccomp"]; whole && got != "active: " {
		t.Errorf("denials_seccomp is %s", got)
	}
	if states["denials_call"] != "" {
		t.Errorf("there is a trace that nobody asked for: %v", states)
	}
	nfs := ""
	if os.Getenv("EYAS_VM") != "" {
		nfs = serveNFS(t, 300000) // the shell's root
	}
	cgroup, _ := cgroupOfOwn(t, map[string]string{"pids.max": "100"})
	s := startShell(t, cgroup, false)
	lendStorm(t, s)
	chain := a.container(s.pid)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	on, done := make(chan map[string]string, 1), make(chan error, 1)
	go func() {
		done <- a.Client.TraceDenials(ctx, func(missing map[string]string) error { on <- missing; return nil })
	}()
	select {
	case missing := <-on:
		for hook, why := range missing {
			if whole || hook == "denials_call" || !strings.Contains(why, refused) {
				t.Errorf("the trace does without %s: %s", hook, why)
			}
		}
	case err := <-done:
		t.Fatal(err)
	}
	fuse := s.do("mkdir l u w fuse; mkdir -m 700 l/d; fuse-overlayfs -o lowerdir=l,upperdir=u,workdir=w fuse; test -d fuse/d && echo stands")
	before := a.refusals(chain)
	for _, tc := range traceCases {
		if strings.Contains(tc.command, "fuse/") && !strings.Contains(fuse, "stands") && os.Getenv("EYAS_VM") == "" {
			t.Logf("users may not use /dev/fuse here: %s", fuse)
			continue
		}
		if strings.Contains(tc.command, "NFS/") && nfs == "" {
			continue // only machines of the test's own are made servers
		}
		tc.command = strings.ReplaceAll(tc.command, "NFS/", nfs+"/")
		want := tc.want
		if !whole {
			want = tc.poor
		}
		out := s.do("PATH=/usr/sbin:/usr/bin:/sbin:/bin; " + tc.command) // of the node's, others may not be looked into
		if !strings.Contains(out, tc.prints) {
			t.Errorf("%s: printed %q, want %q", tc.command, out, tc.prints)
		}
		after := a.refusals(chain)
		for k, r := range after {
			if strings.HasSuffix(k, " CAP_SYS_RESOURCE fcntl") {
				continue // fuse-overlayfs would like larger pipes than it gets
			}
			if r.Count != before[k].Count && k != want {
				t.Errorf("%s (%s): told of %s as well: %s", tc.command, strings.TrimSpace(out), k, r.Refusal.Cause)
			}
		}
		r, ok := after[want]
		switch {
		case want == "":
		case !ok || r.Count != before[want].Count+1:
			t.Errorf("%s (%s): told %d times as %s", tc.command, strings.TrimSpace(out), r.Count-before[want].Count, want)
		case whole && !strings.Contains(r.What+" "+r.Refusal.Cause+" "+r.Fix, tc.says):
			t.Errorf("%s: %q says nothing of %q", tc.command, r.What+" "+r.Refusal.Cause+" "+r.Fix, tc.says)
		}
		before = after
	}
	traceCommand(t, a, s, chain)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	afterTrace(t, a, s, chain, whole)
}

// traceCommand: the command shows what comes while it runs.
func traceCommand(t *testing.T, a *agent, s *shell, chain string) {
	t.Helper()
	type answer struct {
		out, errs string
		code      int
	}
	got := make(chan answer, 1)
	go func() {
		out, errs, code := a.eyas("explain", chain, "--trace", "5s")
		got <- answer{out, errs, code}
	}()
	for {
		select {
		case g := <-got:
			if g.code != 0 || !strings.Contains(g.out, "openat refused (EROFS)") {
				t.Errorf("explain --trace: status %d: %s%s", g.code, g.out, g.errs)
			}
			return
		default:
			s.do("busybox mount -t tmpfs -o ro tmpfs /mnt; touch /mnt/x; busybox umount /mnt")
		}
	}
}

// afterTrace: what a trace alone tells is told no more, and what is opted in is.
func afterTrace(t *testing.T, a *agent, s *shell, chain string, whole bool) {
	t.Helper()
	if err := poll(t.Context(), a.done, func() error {
		for name, state := range denialHooks(t, a) {
			if name == "denials_call" || name == "denials_mode" {
				return fmt.Errorf("%s is %s", name, state)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !whole {
		if _, errs, code := a.eyas("explain", chain); code != 1 || !strings.Contains(errs, "what was refused is not known here") {
			t.Errorf("explain says %d: %s", code, errs)
		}
		return
	}
	before := a.refusals(chain)
	s.do(asUser + "cat mine; ./storm filtered busybox mkdir d")
	for k, r := range a.refusals(chain) {
		want := before[k].Count
		if k == "call EPERM seccomp mkdir" {
			want++
		}
		if r.Count != want {
			t.Errorf("after the trace: %s %d times, want %d", k, r.Count, want)
		}
	}
}

// lendStorm puts storm where the shell is.
func lendStorm(t *testing.T, s *shell) {
	t.Helper()
	path, err := stormtest.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(strings.TrimSpace(s.do("pwd")), "storm"), program, 0o755); err != nil {
		t.Fatal(err)
	}
}
