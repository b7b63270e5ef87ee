package denials

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/bpf"
)

// call is a system call whose arguments make it fail, or change nothing.
type call struct {
	number  uintptr
	a, b, c uintptr
}

const none = ^uintptr(0) // no id, no descriptor, no flags that there are

// calls are those that every architecture has.
func calls() []call {
	return []call{
		{unix.SYS_UNSHARE, 0, 0, 0},
		{unix.SYS_SETNS, none, 0, 0},
		{unix.SYS_MOUNT, 0, 0, 0},
		{unix.SYS_FSMOUNT, none, none, 0},
		{unix.SYS_FSCONFIG, none, none, 0},
		{unix.SYS_FSOPEN, 0, none, 0},
		{unix.SYS_MOVE_MOUNT, none, 0, none},
		{unix.SYS_OPEN_TREE, none, 0, none},
		{unix.SYS_MOUNT_SETATTR, none, 0, none},
		{unix.SYS_PIVOT_ROOT, 0, 0, 0},
		{unix.SYS_UMOUNT2, 0, none, 0},
		{unix.SYS_FCHOWN, none, none, none},
		{unix.SYS_FCHOWNAT, none, 0, none},
		{unix.SYS_FCHMOD, none, 0, 0},
		{unix.SYS_FCHMODAT, none, 0, 0},
		{unix.SYS_SETUID, none, 0, 0},
		{unix.SYS_SETREUID, none, none, 0},
		{unix.SYS_SETRESUID, none, none, none},
		{unix.SYS_SETGID, none, 0, 0},
		{unix.SYS_SETREGID, none, none, 0},
		{unix.SYS_SETRESGID, none, none, none},
		{unix.SYS_SETGROUPS, none, 0, 0},
		{unix.SYS_MKNODAT, none, 0, 0},
		{unix.SYS_SETHOSTNAME, 0, none, 0},
		{unix.SYS_SETDOMAINNAME, 0, none, 0},
		{unix.SYS_CHROOT, 0, 0, 0},
		{unix.SYS_PTRACE, none, none, 0},
		{unix.SYS_BPF, none, 0, 0},
		{unix.SYS_PERF_EVENT_OPEN, 0, none, none},
		{unix.SYS_ADD_KEY, 0, 0, 0},
		{unix.SYS_KEYCTL, none, 0, 0},
		{unix.SYS_INOTIFY_ADD_WATCH, none, 0, 0},
		{unix.SYS_PRLIMIT64, 0, none, 0},
		{unix.SYS_SETPRIORITY, none, none, 0},
		{unix.SYS_SCHED_SETSCHEDULER, none, none, 0},
		{unix.SYS_SCHED_SETATTR, none, 0, none},
		{unix.SYS_INIT_MODULE, 0, 0, 0},
		{unix.SYS_FINIT_MODULE, none, 0, none},
		{unix.SYS_CLOCK_SETTIME, none, 0, 0},
		{unix.SYS_SETXATTR, 0, 0, 0},
		{unix.SYS_LSETXATTR, 0, 0, 0},
		{unix.SYS_FSETXATTR, none, 0, 0},
	}
}

// Drive makes every call that has a program, in a way that fails or changes
// nothing. process must fork; cgroups is where cgroup2 is mounted, "" if nowhere.
func Drive(process bpf.Drive, cgroups string) bpf.Drive {
	return func() error {
		for _, c := range append(calls(), legacyCalls()...) {
			_, _, _ = unix.Syscall(c.number, c.a, c.b, c.c) // refused, as it should be
		}
		errs := []error{process(), limits(), owner(), idMaps()}
		if cgroups == "" {
			errs = append(errs, errors.New("no cgroup2 hierarchy"))
		} else if err := unix.Mkdir(filepath.Join(cgroups, "eyas\nself-test"), 0o700); !errors.Is(err, unix.EINVAL) {
			// No cgroup may have a line feed in its name.
			errs = append(errs, fmt.Errorf("make a cgroup that cannot be: %w", err))
		}
		return errors.Join(errs...)
	}
}

// limits makes something that counts against a limit of the user namespace.
func limits() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("inotify_init1: %w", err)
	}
	return errors.Join(unix.Close(fd), inotifyInit())
}

// owner opens a file that modes forbid to all, of which the kernel asks whether
// the caller may nevertheless.
func owner() error {
	f, err := os.CreateTemp("", "eyas-self-test-")
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Chmod(0); err != nil {
		return err
	}
	again, err := os.Open(f.Name())
	if err == nil {
		return again.Close()
	}
	return nil // refused: it was asked
}

// idMaps writes what no map is to the maps of this user namespace, which has its
// own for good.
func idMaps() error {
	var errs []error
	for _, name := range []string{"uid_map", "gid_map", "setgroups"} {
		f, err := os.OpenFile("/proc/self/"+name, os.O_WRONLY, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_, _ = f.WriteString("-") // refused, as it should be
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
