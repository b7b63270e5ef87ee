//go:build host

package starts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/test/cri"
)

// image has busybox; it is also that of the pods' own containers, so it waits.
const image = "localhost/eyas-busybox:test"

// patience is how long an event may take on a busy machine.
const patience = time.Minute

// setup makes the mount namespace of a node ($1 is its folder) and holds it until
// its input ends.
const setup = `set -e
mount --bind "$1" "$1"
mount -t tmpfs -o mode=755 tmpfs /run
echo ready
exec cat
`

// node is a machine within the machine: a mount namespace and a containerd in it.
type node struct {
	dir        string
	mark       string // the end of dir: processes of the node have it in mountinfo
	under      []string
	containerd *cri.Containerd
	client     *cri.Client
	holder     *exec.Cmd
	stdin      io.Closer
}

// newNode starts a containerd; the caller closes the node.
func newNode(ctx context.Context) (*node, error) {
	dir, err := os.MkdirTemp("", "eyas-starts-")
	if err != nil {
		return nil, err
	}
	n := &node{dir: dir, mark: filepath.Base(dir)}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *node) start(ctx context.Context) error {
	// Users of containers read files of the agent below it.
	if err := os.Chmod(n.dir, 0o755); err != nil {
		return err
	}
	if err := n.hold(); err != nil {
		return fmt.Errorf("make the node's mount namespace: %w", err)
	}
	bin, err := peer()
	if err != nil {
		return err
	}
	n.containerd, err = cri.StartContainerd(ctx, cri.ContainerdOptions{
		Binary: filepath.Join(bin, "containerd"), Path: bin + ":" + os.Getenv("PATH"), Under: n.under,
		Dir: filepath.Join(n.dir, "c"), Pause: image, Nested: true,
	})
	if err != nil {
		return err
	}
	if n.client, err = cri.Dial(n.containerd.Socket); err != nil {
		return err
	}
	return n.load(ctx, filepath.Join(bin, "ctr"))
}

func (n *node) hold() (err error) {
	n.holder = exec.Command("unshare", "--mount", "sh", "-c", setup, "sh", n.dir)
	n.holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var errs bytes.Buffer
	n.holder.Stderr = &errs
	if n.stdin, err = n.holder.StdinPipe(); err != nil {
		return err
	}
	out, err := n.holder.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.holder.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		n.stdin.Close()
		return fmt.Errorf("%q: %w: %w: %s", line, err, n.holder.Wait(), &errs)
	}
	n.under = []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", n.holder.Process.Pid), "--"}
	return nil
}

// load makes the image and gives it to containerd.
func (n *node) load(ctx context.Context, ctr string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	archive := filepath.Join(n.dir, "image.tar")
	for _, args := range [][]string{
		{"../vm/mkoci", busybox, image, archive, "/bin/sleep", "infinity"},
		{ctr, "--address", n.containerd.Socket, "--namespace", "k8s.io", "images", "import", archive},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("load image: %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// cgroupParent is the parent of all cgroups that the node's pods are in.
func (n *node) cgroupParent() string { return "/" + n.mark }

func (n *node) containerdLog() string {
	if n.containerd == nil {
		return ""
	}
	b, err := os.ReadFile(n.containerd.LogFile())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// close ends all that runs in the node and removes what it made.
func (n *node) close() error {
	var errs []error
	if n.client != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		errs = append(errs, n.removePods(ctx), n.client.Close())
	}
	if n.containerd != nil {
		errs = append(errs, n.containerd.Stop())
	}
	errs = append(errs, n.killAll(), n.removeCgroups())
	if n.stdin != nil {
		n.stdin.Close()
		_ = n.holder.Wait()
	}
	return errors.Join(append(errs, os.RemoveAll(n.dir))...)
}

// killAll ends what a failed test has left: the processes of the node's mount
// namespace, and of its containers.
func (n *node) killAll() error {
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, dir := range pids {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || n.holder != nil && n.holder.Process != nil && pid == n.holder.Process.Pid {
			continue
		}
		mounts, err := os.ReadFile(filepath.Join(dir, "mountinfo"))
		if err != nil || !bytes.Contains(mounts, []byte(n.mark)) {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// removeCgroups removes the empty cgroups of the node, in all hierarchies.
func (n *node) removeCgroups() error {
	var errs []error
	tops, err := filepath.Glob(filepath.Join("/sys/fs/cgroup", "*", n.mark))
	tops = append(tops, filepath.Join("/sys/fs/cgroup", n.mark))
	for _, top := range tops {
		var dirs []string
		errs = append(errs, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		}))
		for i := len(dirs) - 1; i >= 0; i-- {
			errs = append(errs, removeCgroup(dirs[i]))
		}
	}
	return errors.Join(append(errs, err)...)
}

// removeCgroup waits for the last process to be gone: it is killed already.
func removeCgroup(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return poll(ctx, func() error {
		if err := os.Remove(dir); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// poll asks until it hears no error.
func poll(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// eventually fails a test that does not come to hear no error.
func eventually(t testing.TB, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := poll(ctx, ask); err != nil {
		t.Fatal(err)
	}
}
