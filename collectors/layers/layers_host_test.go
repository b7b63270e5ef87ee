//go:build host

package layers

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// onOverlay makes, in memory of its own: the root, an overlay upon two layers, and
// on that a read-only one, one that is hidden, and one whose path is relative.
const onOverlay = `set -e
mount -t tmpfs -o size=8m tmpfs /mnt
cd /mnt
mkdir -p a/read a/hidden a/relative a/img b upper work merged u2 w2 u3 w3
cp "$(command -v busybox)" a/busybox
mount -t overlay -o lowerdir=/mnt/a:/mnt/b,upperdir=/mnt/upper,workdir=/mnt/work overlay merged
mount -t overlay -o lowerdir=/mnt/a:/mnt/b overlay merged/read
mount -t overlay -o lowerdir=/mnt/a,upperdir=/mnt/u2,workdir=/mnt/w2 overlay merged/hidden
mount -t tmpfs tmpfs merged/hidden
mount -i -t overlay -o lowerdir=a,upperdir=u3,workdir=w3 overlay merged/relative
exec chroot merged /busybox sh -c 'echo 1234 > /file; echo ready; exec /busybox cat'
`

func start(t *testing.T, script string) identity.ProcessKey {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	c := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	p, err := procfs.NewProc(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return identity.ProcessKey{PID: identity.HostPID(c.Process.Pid), Start: stat.Starttime * uint64(10*time.Millisecond)}
}

// TestLook: upper directories that are not found, or that there are none of, are
// told as such, and the root's is found where whoever mounted it has it.
func TestLook(t *testing.T) {
	c := Container{ID: "c", Init: start(t, onOverlay)}
	mounter := start(t, `mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/upper
echo a secret that is no container\'s > /mnt/upper/secret
echo ready
exec cat`)
	look := func(mounters ...identity.HostPID) map[string]Overlay {
		t.Helper()
		c.Mounters = mounters
		all, err := new(Looker).Look(t.Context(), "/proc", []Container{c}, 5)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]Overlay{}
		for _, o := range all {
			got[o.Point] = o
		}
		return got
	}
	// The overlay's own process sees it from within, and another has another
	// directory there.
	got := look(c.Init.PID, mounter.PID)
	for point, want := range map[string]string{
		"/": "was not found", "/read": "it is read-only", "/hidden": "another mount hides it",
		"/relative": "by a path that only its mounter understands: u3",
	} {
		o := got[point]
		if o.Kind != KindOverlay || o.Usage != nil || o.Upper != "" || o.Available != nil || !strings.Contains(o.Note, want) {
			t.Errorf("%s: %+v, want the note %q", point, o, want)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d overlays", len(got))
	}
}

// TestLookFinds: below the root of whoever mounted it, the upper directory is found,
// as deep as it lies.
func TestLookFinds(t *testing.T) {
	const script = `set -e
mount -t tmpfs -o size=8m tmpfs /mnt
cd /mnt
mkdir -p a b "upper, : x" work merged u2 w2 merged2
echo 1 > a/file
ln -s "/mnt/upper, : x" link
mount -t overlay -o 'lowerdir=/mnt/a:/mnt/b,upperdir=/mnt/upper\, : x,workdir=/mnt/work' overlay merged
mount -t overlay -o lowerdir=/mnt/merged,upperdir=/mnt/u2,workdir=/mnt/w2 overlay merged2
echo 2 >> merged2/file
echo ready
exec cat`
	c := Container{ID: "c", Init: start(t, script)}
	c.Mounters = []identity.HostPID{c.Init.PID}
	all, err := new(Looker).Look(t.Context(), "/proc", []Container{c}, 5)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Overlay{}
	for _, o := range all {
		got[o.Point] = o
	}
	one, two := got["/mnt/merged"], got["/mnt/merged2"]
	if one.Depth == nil || *one.Depth != 1 || one.Layers != 2 || one.FSType != "tmpfs" || one.Usage == nil || one.Usage.Files != 0 ||
		filepath.Base(one.Upper) != "upper, : x" || *one.Size != 8<<20 {
		t.Errorf("the lower overlay: %+v", one)
	}
	if two.Depth == nil || *two.Depth != 2 || two.Usage == nil || two.Usage.CopiedUp.Files != 1 || two.Usage.CopiedUp.Largest[0].Path != "file" {
		t.Errorf("the upper overlay: %+v", two)
	}
	// The path that is told leads there.
	if b, err := os.ReadFile(filepath.Join(two.Upper, "file")); err != nil || string(b) != "1\n2\n" {
		t.Errorf("%s: %q, %v", two.Upper, b, err)
	}
	c.Init.Start += uint64(time.Second)
	if all, err := new(Looker).Look(t.Context(), "/proc", []Container{c}, 5); err != nil || len(all) != 0 {
		t.Errorf("another process with the pid: %v, %v", all, err)
	}
}

// The agent's precedence is put down for a walk, and taken up again.
func TestNice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	value := func() int {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			t.Fatal(err)
		}
		return 20 - n
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := value()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -7); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, before); err != nil {
			t.Error(err)
		}
	}()
	stop := errors.New("stop")
	during := 1
	if err := niceWhile(func() error { during = value(); return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	same(t, "during and after", []int{0, -7}, []int{during, value()})
}
