package trial

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call of the forked children. They have one thread and a copy
// of a memory in which locks of others may be held for ever. So all is worked
// out before the fork, and they do nothing but play a list of these.
type call struct {
	step   step
	nr     uintptr
	args   [5]uintptr
	least  uintptr       // it must return so much
	ignore syscall.Errno // an error that does not matter
	fork   bool          // its child goes on with the list, it ends
}

// message is what children write to status. The kernel adds who wrote it.
type message struct {
	step  step
	value uint64 // errno, or a pid
}

// script is a list of calls, with the memory that they point to.
type script struct {
	calls []call
	said  message
	fd    [2]uintptr // status: until, and after, close_range
	pins  runtime.Pinner
}

// addr gives a call the address of something, which stays there.
func addr[T any](s *script, p *T) uintptr {
	s.pins.Pin(p)
	return uintptr(unsafe.Pointer(p))
}

func (s *script) add(step step, nr uintptr, args ...uintptr) *call {
	c := call{step: step, nr: nr}
	copy(c.args[:], args)
	s.calls = append(s.calls, c)
	return &s.calls[len(s.calls)-1]
}

// start forks the child that plays the script. The thread must be locked.
// Signals are blocked meanwhile: a child must never run a handler of this program.
func (s *script) start(all, old *uint64) (pid int, err error) {
	s.pins.Pin(s)
	defer s.pins.Unpin()
	if _, _, e := syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(all)), uintptr(unsafe.Pointer(old)), 8, 0, 0); e != 0 {
		return 0, fmt.Errorf("block signals: %w", e)
	}
	child, e := s.fork()
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(old)), 0, 8, 0, 0)
	if e != 0 {
		return 0, fmt.Errorf("fork: %w", e)
	}
	return int(child), nil
}

//go:nosplit
//go:norace
//go:noinline
func (s *script) fork() (uintptr, syscall.Errno) {
	pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e == 0 && pid == 0 {
		s.play()
	}
	return pid, e
}

// play ends with an exec, or with the process.
//
//go:nosplit
//go:norace
//go:noinline
func (s *script) play() {
	status := s.fd[0]
	for i := range s.calls {
		c := &s.calls[i]
		r, _, e := syscall.RawSyscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], 0)
		if c.nr == unix.SYS_CLOSE_RANGE {
			status = s.fd[1]
		}
		if c.fork && e == 0 {
			if r == 0 {
				continue
			}
			s.said.step, s.said.value = c.step.parent(), uint64(r)
		} else {
			if (e == 0 || e == c.ignore) && r >= c.least {
				continue
			}
			s.said.step, s.said.value = c.step, uint64(e)
		}
		if s.said.step != stepNone {
			_, _, _ = syscall.RawSyscall6(unix.SYS_WRITE, status, uintptr(unsafe.Pointer(&s.said)), unsafe.Sizeof(s.said), 0, 0, 0)
		}
		break
	}
	for {
		_, _, _ = syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}
