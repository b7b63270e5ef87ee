//go:build host

package sources

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// A block that nobody should have: the last but one of systemd's containers.
var testRange = subid.Range{Start: 1878851584, Count: 65536}

func none() ([]Namespace, error) { return nil, nil }

// start runs a process that ends when its input does.
func start(t *testing.T, attr *syscall.SysProcAttr) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	// cat echoes a line once it runs, after the maps were written.
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, end
}

func mapped(m []syscall.SysProcIDMap) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: m, GidMappings: m}
}

func expect(t *testing.T, p *Prover, want subid.Liveness, evidence string) {
	t.Helper()
	proof := p.Prove(testRange)
	if proof.Liveness != want {
		t.Errorf("%v, want %v: %+v", proof.Liveness, want, proof.Evidence)
	}
	if evidence != "" && (len(proof.Evidence) == 0 || !strings.Contains(proof.Evidence[0].Text, evidence)) {
		t.Errorf("evidence %+v, want %q", proof.Evidence, evidence)
	}
}

// Whoever holds the range in one way or another is seen, and not any more when
// it is gone.
func TestProveOnKernel(t *testing.T) {
	p := NewProver("/proc", none)
	expect(t, p, subid.Released, "")
	start32, size := int(testRange.Start), int(testRange.Count)
	for name, tc := range map[string]struct {
		attr     *syscall.SysProcAttr
		evidence string
	}{
		"root of a container": {&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, Credential: &syscall.Credential{NoSetGroups: true},
			UidMappings: []syscall.SysProcIDMap{{HostID: start32, Size: size}}, GidMappings: []syscall.SysProcIDMap{{HostID: start32, Size: size}}}, "runs with id"},
		"only mapped": {mapped([]syscall.SysProcIDMap{{HostID: 0, Size: 1}, {ContainerID: 1, HostID: start32 + size - 1, Size: 1}}), "user namespace that maps it"},
		"uid":         {&syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testRange.Start + 7}}, "runs with id"},
		"gid":         {&syscall.SysProcAttr{Credential: &syscall.Credential{Gid: testRange.Start + 7}}, "runs with id"},
		"group":       {&syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{testRange.Start + 65535}}}, "runs with id"},
	} {
		t.Run(name, func(t *testing.T) {
			_, end := start(t, tc.attr)
			expect(t, p, subid.Alive, tc.evidence)
			end()
			expect(t, p, subid.Released, "")
		})
	}
	// Others' ids do not count, nor does the host's own numbering.
	_, end := start(t, mapped([]syscall.SysProcIDMap{{HostID: start32 - 65536, Size: 65536}}))
	defer end()
	_, end = start(t, mapped([]syscall.SysProcIDMap{{Size: 4294967295}}))
	defer end()
	expect(t, p, subid.Released, "")
}

// A thread may have ids that its process does not.
func TestProveThread(t *testing.T) {
	p := NewProver("/proc", none)
	set, looked, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		_, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, uintptr(testRange.Start+9), 0, 0)
		if errno != 0 {
			set <- errno
			return
		}
		set <- nil
		<-looked
		// The thread outlives the goroutine by a little: it must not keep the id.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0); errno != 0 {
			t.Error(errno)
		}
	}()
	if err := <-set; err != nil {
		t.Fatal(err)
	}
	expect(t, p, subid.Alive, "runs with id")
	close(looked)
	<-ended
	expect(t, p, subid.Released, "")
}

// The kernel tells the maps of idmapped mounts, in namespaces without a process
// too. One before 6.15 does not, and a mount among the host's is a doubt.
func TestIdmappedMount(t *testing.T) {
	pid, end := start(t, mapped([]syscall.SysProcIDMap{{HostID: int(testRange.Start), Size: 65536}}))
	userns, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns", "user"))
	if err != nil {
		t.Fatal(err)
	}
	// The mount is made in a mount namespace of its own, whose only process is
	// cat: a thread enters it, mounts, and ends.
	holder, endHolder := start(t, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
	mntns, err := os.Open(filepath.Join("/proc", strconv.Itoa(holder), "ns", "mnt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := mountIdmapped(mntns, userns); errors.Is(err, unix.EINVAL) {
		if major, minor := kernelVersion(t); major > 6 || major == 6 && minor >= 3 {
			t.Fatalf("Linux %d.%d has idmapped tmpfs, and refuses one: %v", major, minor, err)
		}
		t.Skipf("this kernel has no idmapped tmpfs (Linux 6.3): %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	userns.Close()
	end()
	p := NewProver("/proc", none)
	mounted, kept := subid.Alive, subid.Alive
	switch _, err := idmappedMounts("/proc"); {
	case errors.Is(err, errNoMountMaps), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.ENOSYS):
		mounted, kept = subid.Indeterminate, subid.Released
	case err != nil:
		t.Fatal(err)
	}
	// The user namespace lives on in the mount, without a process.
	expect(t, p, mounted, "idmapped")
	old := NewProver("/proc", none)
	old.mounts = func(string) ([]idmappedMount, error) { return nil, errNoMountMaps }
	expect(t, old, subid.Indeterminate, "")
	endHolder()
	expect(t, p, kept, "") // a descriptor keeps the mount namespace, where nobody is
	mntns.Close()
	expect(t, p, subid.Released, "")
}

// mountIdmapped mounts a tmpfs with the ids of userns on /mnt of mntns.
func mountIdmapped(mntns, userns *os.File) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the namespace
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			own, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(own)
			if err := unix.Setns(int(mntns.Fd()), unix.CLONE_NEWNS); err != nil {
				return err
			}
			// The thread outlives the goroutine by a little: it must not keep
			// the namespace.
			defer func() {
				if err := unix.Setns(own, unix.CLONE_NEWNS); err != nil {
					panic(err) // the thread can be used no more
				}
			}()
			fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
			if err != nil {
				return err
			}
			defer unix.Close(fs)
			if err := unix.FsconfigCreate(fs); err != nil {
				return err
			}
			mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(mnt)
			attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
			if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &attr); err != nil {
				return err
			}
			return unix.MoveMount(mnt, "", unix.AT_FDCWD, "/mnt", unix.MOVE_MOUNT_F_EMPTY_PATH)
		}()
	}()
	return <-done
}

// Known namespaces count when the kernel's files do not show them.
func TestProveKnown(t *testing.T) {
	ns := []Namespace{{Name: "kept\x1b by a file", GIDs: identity.GIDMap{{First: 0, Host: testRange.Start + 65535, Count: 1}}}}
	expect(t, NewProver("/proc", func() ([]Namespace, error) { return ns, nil }), subid.Alive, `kept\x1b by a file`)
}

func TestSnapshotOnKernel(t *testing.T) {
	h := Host{Etc: "/etc", Proc: "/proc", Kubelet: "/var/lib/kubelet"}
	has := func() bool {
		s, err := h.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		_, taken := subid.NewTaken(s.Claims).By(testRange.Start)
		return taken
	}
	if has() {
		t.Errorf("%v is taken", testRange)
	}
	_, end := start(t, mapped([]syscall.SysProcIDMap{{HostID: int(testRange.Start), Size: 1}}))
	if !has() {
		t.Errorf("%v is not taken", testRange)
	}
	end()
}

func BenchmarkProve(b *testing.B) {
	p := NewProver("/proc", none)
	for b.Loop() {
		p.Prove(testRange)
	}
}

// kernelVersion is for skips alone: a feature that cannot be asked for must not
// be taken for missing where it has to be.
func kernelVersion(t *testing.T) (major, minor int) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatalf("kernel release %q: %v", u.Release, err)
	}
	return major, minor
}
