//go:build host

package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lab is a place where real runtimes work without a trace on the machine: a
// mount namespace with a /run, a /var/lib and a table of users of its own, a
// folder for stores, and cgroups that have its tag in their name. Every process
// of it has its mark in mountinfo, whatever namespaces it went on into.
type lab struct {
	t      *testing.T
	dir    string
	mark   string // the end of dir: /tmp may be a file system of its own
	number string // part of the name of every container
	tag    string
	image  string // OCI archive of imageName
	holder *exec.Cmd
	stdin  io.Closer // ends the holder
}

const (
	imageName = "localhost/busybox:latest"
	tenant    = 61000 // the lab's user without rights; 0 is root
)

// labSetup makes the mount namespace ($1 is the folder) and holds it until its
// input ends. What a tenant of a node may do stands in /etc.
const labSetup = `set -e
mount --bind "$1" "$1"
for f in passwd group subuid subgid; do mount --bind "$1/etc/$f" "/etc/$f"; done
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
mount -t tmpfs -o mode=755 tmpfs /var/lib
install -d -m 755 /run/user
install -d -m 700 -o $2 -g $2 "/run/user/$2" "$1/home"
echo ready
exec cat
`

// labConf suits runtimes that may not raise limits, on a machine without
// systemd whose cgroups may lack the pids controller.
const labConf = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
`

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), number: strconv.Itoa(os.Getpid())}
	l.tag = "eyas-lab-" + l.number
	l.mark = filepath.Join(filepath.Base(filepath.Dir(l.dir)), filepath.Base(l.dir))
	if err := os.Chmod(filepath.Dir(l.dir), 0o755); err != nil { // the tenant must get there
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"etc/passwd":          fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\ntenant:x:%d:%[1]d::%s/home:/bin/sh\n", tenant, l.dir),
		"etc/group":           fmt.Sprintf("root:x:0:\ntenant:x:%d:\n", tenant),
		"etc/subuid":          "tenant:700000:65536\n",
		"etc/subgid":          "tenant:800000:65536\n",
		"etc/containers.conf": labConf,
		"etc/policy.json":     `{"default": [{"type": "insecureAcceptAnything"}]}`,
	} {
		l.write(name, text)
	}
	l.image = "/opt/busybox.oci.tar"
	if os.Getenv("EYAS_VM") == "" {
		l.image = filepath.Join(l.dir, "busybox.oci.tar")
		busybox, err := exec.LookPath("busybox")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("../vm/mkoci", busybox, imageName, l.image).CombinedOutput(); err != nil {
			t.Fatalf("make the image: %v\n%s", err, out)
		}
	}
	l.holder = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", labSetup, "sh", l.dir, strconv.Itoa(tenant))
	l.holder.Stderr = os.Stderr
	l.holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if l.stdin, err = l.holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := l.holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("set up a mount namespace: %q, %v", line, err)
	}
	return l
}

func (l *lab) write(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// command is to run in the lab, as root or the tenant.
func (l *lab) command(ctx context.Context, user int, args ...string) *exec.Cmd {
	l.t.Helper()
	home := filepath.Join(l.dir, "home")
	if user == 0 {
		home = "/run"
	}
	all := []string{"--mount", "--target", strconv.Itoa(l.holder.Process.Pid), "--"}
	if id := strconv.Itoa(user); user != 0 {
		all = append(all, "setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--inh-caps=-all", "--")
	}
	c := exec.CommandContext(ctx, "nsenter", append(all, args...)...)
	c.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "LANG=C.UTF-8",
		"CONTAINERS_CONF=" + filepath.Join(l.dir, "etc/containers.conf"), "TMPDIR=/var/tmp",
	}
	if user != 0 {
		c.Env = append(c.Env, "XDG_RUNTIME_DIR=/run/user/"+strconv.Itoa(user))
	}
	return c
}

// run returns what a command of the lab prints; it must succeed.
func (l *lab) run(user int, args ...string) string {
	l.t.Helper()
	out, err := l.try(user, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *lab) try(user int, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	c := l.command(ctx, user, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	c.WaitDelay = time.Second // a monitor that goes on keeps the pipe
	if err := c.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, &errs, &out)
	}
	return strings.TrimSpace(out.String()), nil
}

// start starts a command and returns what reads a line of its output and what
// waits until it ends well.
func (l *lab) start(user int, args ...string) (line func() string, wait func()) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	stop := context.AfterFunc(ctx, l.sweep) // whoever else has the pipe, too
	l.t.Cleanup(cancel)
	c := l.command(ctx, user, args...)
	stdout, err := c.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	var errs lockedBuffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	in := bufio.NewReader(stdout)
	line = func() string {
		l.t.Helper()
		s, err := in.ReadString('\n')
		if err != nil {
			l.t.Fatalf("read output: %v %q; %s", err, s, errs.String())
		}
		return s
	}
	wait = func() {
		l.t.Helper()
		rest, _ := io.ReadAll(in)
		stop()
		if err := c.Wait(); err != nil {
			l.t.Errorf("%v: %v\n%s%s", c.Args, err, rest, errs.String())
		}
	}
	return line, wait
}

// release writes a line to a FIFO that somebody reads, or is about to.
func (l *lab) release(fifo string) {
	l.t.Helper()
	l.eventually("release "+fifo, func() error {
		fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte("go\n"))
		return err
	})
}

// engine is the start of a call of podman or buildah with a store of the user's.
func (l *lab) engine(name string, user int) []string {
	store := filepath.Join(l.dir, "home/store")
	runroot := fmt.Sprintf("/run/user/%d/containers", user)
	if user == 0 {
		store, runroot = filepath.Join(l.dir, "store"), "/run/containers"
	}
	return []string{name, "--root", store, "--runroot", runroot, "--storage-driver", "vfs"}
}

// runtime is the low-level runtime for podman and buildah. The guests' is
// crun; on a hybrid cgroup layout crun 1.8 refuses to work.
func runtime() string {
	if os.Getenv("EYAS_VM") != "" {
		return "crun"
	}
	return "runc"
}

// podman is the start of a call of a user's podman.
func (l *lab) podman(user int) []string {
	return append(l.engine("podman", user), "--runtime", runtime())
}

// load puts the image into a user's store, and ends the process that keeps the
// namespaces of a user's podman.
func (l *lab) load(user int) {
	l.t.Helper()
	l.run(user, append(l.podman(user), "load", "--quiet", "--input", l.image)...)
	if user != 0 {
		l.run(user, append(l.podman(user), "system", "migrate")...)
	}
}
