package trial

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxFilters bounds what is copied. A runtime installs one or two; the kernel
// allows 32768 instructions in all.
const maxFilters = 32

// readFilters reads the seccomp filters of a process, which is stopped for that
// moment. The thread must be locked. Should this program die meanwhile, the
// kernel lets the process go on.
func readFilters(pid int) (all []unix.SockFprog, err error) {
	if err := unix.PtraceSeize(pid); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return nil, fmt.Errorf("stop: %w", err) // it has ended
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("wait: %w", err)
		}
		if status.Stopped() {
			break
		}
		return nil, errors.New("it has ended")
	}
	defer func() {
		// A signal that stopped it, instead of the interrupt (an event), is passed on.
		signal := uintptr(0)
		if uint32(status)>>16 == 0 {
			signal = uintptr(status.StopSignal())
		}
		if _, _, e := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, signal, 0, 0); e != 0 {
			err = errors.Join(err, fmt.Errorf("let go: %w", e))
		}
	}()
	for i := range uintptr(maxFilters) {
		count, _, e := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), i, 0, 0, 0)
		switch {
		case e == unix.ENOENT:
			return all, nil
		case e != 0:
			return nil, fmt.Errorf("filter %d: %w", i, e)
		case count == 0 || count > 4096: // BPF_MAXINSNS
			return nil, fmt.Errorf("filter %d has %d instructions", i, count)
		}
		program := make([]unix.SockFilter, count)
		if _, _, e := syscall.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), i,
			uintptr(unsafe.Pointer(&program[0])), 0, 0); e != 0 {
			return nil, fmt.Errorf("filter %d: %w", i, e)
		}
		all = append(all, unix.SockFprog{Len: uint16(count), Filter: &program[0]})
	}
	return nil, fmt.Errorf("more than %d filters", maxFilters)
}
