package trial

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch is what becomes inside.
type launch struct {
	pidfd, root, memfd    int
	stdin, stdout, stderr int
	status                int // closed by the exec
	as                    As
	filters               []unix.SockFprog
	argv, env             []*byte
}

// step says what a child was about, for errors.
type step uint64

const (
	stepNone   step = iota
	stepSecond      // not an error: the second child's pid
	stepThird       // not an error: the third is there
	stepSession
	stepKeyring
	stepDumpable
	stepGroups
	stepNamespaces
	stepRoot
	stepUserNS
	stepForkSecond
	stepForkThird
	stepFiles
	stepBounding
	stepFilters
	stepIDs
	stepCaps
	stepNoNewPrivs
	stepParent
	stepExec
)

var stepNames = [...]string{
	stepSession: "make a session", stepKeyring: "make a session keyring", stepDumpable: "make undumpable", stepGroups: "drop groups",
	stepNamespaces: "enter its namespaces", stepRoot: "enter its root", stepUserNS: "enter its user namespace",
	stepForkSecond: "fork in its pid namespace", stepForkThird: "make a pid namespace in its", stepFiles: "close files",
	stepBounding: "drop capabilities", stepFilters: "take on its seccomp filters", stepIDs: "become its user",
	stepCaps: "take on its capabilities", stepNoNewPrivs: "take on no_new_privs", stepParent: "wait for the parent", stepExec: "start inside",
}

// parent is what the parent says of a fork that worked.
//
//go:nosplit
func (s step) parent() step {
	if s == stepForkSecond {
		return stepSecond
	}
	return stepNone
}

func (m *message) err() error {
	switch {
	case m == nil:
		return nil
	case m.step >= step(len(stepNames)) || stepNames[m.step] == "":
		return fmt.Errorf("a forked child says %d", m.step)
	case m.value == 0:
		return fmt.Errorf("%s: it is not there", stepNames[m.step])
	}
	return fmt.Errorf("%s: %w", stepNames[m.step], unix.Errno(m.value))
}

// Descriptors of the third child, from the moment on that it has no others.
const (
	thirdMemfd = 3 + iota
	thirdStatus
	thirdFirstClosed
)

// start forks three children, each made by the one before. All have this process
// as their parent; the third is the one that stays.
func (l *launch) start() (first int, err error) {
	s := &script{fd: [2]uintptr{uintptr(l.status), thirdStatus}}
	all, old := ^uint64(0), new(uint64)
	l.first(s)
	// Only a process that is in the container's pid namespace can make one in it.
	s.add(stepForkSecond, unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD)).fork = true
	s.add(stepForkThird, unix.SYS_CLONE, unix.CLONE_NEWPID|unix.CLONE_PARENT|uintptr(unix.SIGCHLD)).fork = true
	l.third(s, old)
	return s.start(&all, old)
}

// first enters the container, as root.
func (l *launch) first(s *script) {
	defaults := new([4]uint64) // struct sigaction
	for sig := uintptr(1); sig <= 64; sig++ {
		s.add(stepSession, unix.SYS_RT_SIGACTION, sig, addr(s, defaults), 0, 8).ignore = unix.EINVAL // KILL, STOP
	}
	s.add(stepSession, unix.SYS_SETSID)
	s.add(stepKeyring, unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING).ignore = unix.ENOSYS
	s.add(stepDumpable, unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	s.add(stepGroups, unix.SYS_SETGROUPS, 0, 0)
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	s.add(stepNamespaces, unix.SYS_SETNS, uintptr(l.pidfd), namespaces)
	s.add(stepRoot, unix.SYS_FCHDIR, uintptr(l.root))
	s.add(stepRoot, unix.SYS_CHROOT, addr(s, &[2]byte{'.'}))
	if l.as.UserNS {
		s.add(stepUserNS, unix.SYS_SETNS, uintptr(l.pidfd), unix.CLONE_NEWUSER)
	}
}

// third becomes the container's user, waits for the word to go, and becomes
// inside.
func (l *launch) third(s *script, mask *uint64) {
	for _, d := range [...][3]int{
		{l.stdin, 0, 0}, {l.stdout, 1, 0}, {l.stderr, 2, 0}, {l.memfd, thirdMemfd, unix.O_CLOEXEC}, {l.status, thirdStatus, unix.O_CLOEXEC},
	} {
		s.add(stepFiles, unix.SYS_DUP3, uintptr(d[0]), uintptr(d[1]), uintptr(d[2]))
	}
	s.add(stepFiles, unix.SYS_CLOSE_RANGE, thirdFirstClosed, uintptr(^uint32(0)), 0)
	hello := &[2]uint64{uint64(stepThird)}
	s.add(stepParent, unix.SYS_WRITE, thirdStatus, addr(s, hello), 16)
	for c := range uintptr(64) {
		if l.as.Bounding&(1<<c) == 0 {
			s.add(stepBounding, unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c).ignore = unix.EINVAL // this kernel has fewer
		}
	}
	// Without no_new_privs filters need CAP_SYS_ADMIN, so they come first then,
	// as the runtimes have it.
	if !l.as.NoNewPrivs {
		l.filter(s)
	}
	l.become(s)
	if l.as.NoNewPrivs {
		s.add(stepNoNewPrivs, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	}
	// Changing ids clears it, and getppid cannot tell whether the parent still
	// lives; if it does not, there is nothing to read.
	s.add(stepParent, unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL))
	s.add(stepParent, unix.SYS_READ, 0, addr(s, new([1]byte)), 1).least = 1
	s.add(stepExec, unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, addr(s, mask), 0, 8)
	if l.as.NoNewPrivs {
		l.filter(s)
	}
	s.add(stepExec, unix.SYS_EXECVEAT, thirdMemfd, addr(s, new([1]byte)), addr(s, &l.argv[0]), addr(s, &l.env[0]), unix.AT_EMPTY_PATH)
}

// become takes on ids and capabilities. What a program has after the exec the
// kernel computes from them, as for one that the container starts.
func (l *launch) become(s *script) {
	s.add(stepCaps, unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1)
	if n := len(l.as.Groups); n > 0 && !l.as.NoGroups {
		s.add(stepIDs, unix.SYS_SETGROUPS, uintptr(n), addr(s, &l.as.Groups[0]))
	}
	g, u := uintptr(l.as.GID), uintptr(l.as.UID)
	s.add(stepIDs, unix.SYS_SETRESGID, g, g, g)
	s.add(stepIDs, unix.SYS_SETRESUID, u, u, u)
	inherit := (l.as.Inheritable | l.as.Ambient) & l.as.Bounding
	head, caps := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, new([2]unix.CapUserData)
	for i := range caps {
		part := uint32(inherit >> (32 * i))
		caps[i] = unix.CapUserData{Effective: part, Permitted: part, Inheritable: part}
	}
	s.add(stepCaps, unix.SYS_CAPSET, addr(s, head), addr(s, caps))
	for c := range uintptr(64) {
		if l.as.Ambient&inherit&(1<<c) != 0 {
			s.add(stepCaps, unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c)
		}
	}
}

func (l *launch) filter(s *script) {
	for i := range l.filters {
		s.add(stepFilters, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, addr(s, &l.filters[i]))
	}
}

// arguments are those of inside. The fewer threads the better.
func (l *launch) arguments() (err error) {
	if l.argv, err = syscall.SlicePtrFromStrings([]string{"eyas", Arg, stageInside}); err != nil {
		return err
	}
	l.env, err = syscall.SlicePtrFromStrings([]string{"GOMAXPROCS=1"})
	return err
}
