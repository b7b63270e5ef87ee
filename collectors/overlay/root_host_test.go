//go:build host

package overlay

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

const onOverlay = `set -e
mount -t tmpfs -o size=4m tmpfs /mnt
mkdir /mnt/a /mnt/b /mnt/upper /mnt/work /mnt/merged
cp "$(command -v busybox)" /mnt/a/busybox
mount -t overlay -o lowerdir=/mnt/a:/mnt/b,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/merged
exec chroot /mnt/merged /busybox sh -c 'echo ready; exec /busybox cat'
`

// TestLookAtRoot looks at a process whose root is an overlay upon 4 MiB of
// memory.
func TestLookAtRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	c := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", onOverlay)
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
	key := keyOf(t, c.Process.Pid)
	r, ok, err := lookAtRoot("/proc", key)
	if err != nil || !ok {
		t.Fatalf("look: %v, %v", ok, err)
	}
	if r.layers != 2 || r.size != 4<<20 || r.available == 0 || r.available >= r.size {
		t.Errorf("got %+v", r)
	}
	key.Start += uint64(time.Second)
	if _, ok, err := lookAtRoot("/proc", key); ok || err != nil {
		t.Errorf("another process with the pid: %v, %v", ok, err)
	}
	if _, ok, _ := lookAtRoot("/proc", keyOf(t, os.Getpid())); ok != rootIsOverlay(t) {
		t.Errorf("this process's root: overlay %v", ok)
	}
}

func keyOf(t *testing.T, pid int) identity.ProcessKey {
	t.Helper()
	p, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return identity.ProcessKey{PID: identity.HostPID(pid), Start: stat.Starttime * uint64(10*time.Millisecond)}
}

func rootIsOverlay(t *testing.T) bool {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		t.Fatal(err)
	}
	return st.Type == overlayfs
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == DriveArg {
		if err := DriveChild(); err != nil {
			panic(err)
		}
		return
	}
	m.Run()
}

// TestDrive: it works, and what it mounts is not to be seen here.
func TestDrive(t *testing.T) {
	mounts := func() string {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := mounts()
	err := Drive()
	if !Loaded("/proc") {
		if !errors.Is(err, ErrNotLoaded) {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if after := mounts(); after != before {
		t.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
	}
}
