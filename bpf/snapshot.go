package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ErrNoProcess means that a pid asked for does not exist (any more).
var ErrNoProcess = errors.New("no such process")

// Tasks iterates over all nested processes, zombies included, and hands each
// to f. It is not atomic: a process born or dying meanwhile may or may not be
// seen. Threads are counted by their process. Safe for concurrent use.
func (m *Monitor) Tasks(f func(*Process)) error {
	m.tasks.mu.Lock()
	defer m.tasks.mu.Unlock()
	it, err := link.AttachIter(link.IterOptions{Program: m.tasks.program})
	if err != nil {
		return fmt.Errorf("attach task iterator: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("open task iterator: %w", err)
	}
	defer r.Close()
	return m.tasks.readProcesses(r, f)
}

// CountTasks iterates over all tasks and does nothing with them: the floor
// under the cost of Tasks. It is loaded when first asked for.
func (m *Monitor) CountTasks() (time.Duration, error) {
	m.floorOnce.Do(func() {
		spec, err := loadIdentity()
		if err == nil {
			m.size(spec)
			m.floor, err = m.loadAs(spec, "count_tasks", modes{})
		}
		m.floorErr = err
	})
	if m.floorErr != nil {
		return 0, fmt.Errorf("load counting iterator: %w", m.floorErr)
	}
	it, err := link.AttachIter(link.IterOptions{Program: m.floor})
	if err != nil {
		return 0, fmt.Errorf("attach counting iterator: %w", err)
	}
	defer it.Close()
	start := time.Now()
	r, err := it.Open()
	if err != nil {
		return 0, fmt.Errorf("open counting iterator: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return 0, fmt.Errorf("read counting iterator: %w", err)
	}
	return time.Since(start), nil
}

// Task looks at one process by host pid. It returns nil without an error when
// the process exists but is not nested, and ErrNoProcess when there is none.
func (m *Monitor) Task(pid uint32) (*Process, error) {
	m.task.mu.Lock()
	defer m.task.mu.Unlock()
	var found *Process
	r, err := openTaskIter(m.task.program, pid)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	err = m.task.readProcesses(r, func(p *Process) { found = p })
	return found, err
}

// UserNSOf returns the user namespaces of one process from its own outwards,
// without the initial one.
func (m *Monitor) UserNSOf(pid uint32) ([]*UserNS, error) {
	m.userns.mu.Lock()
	defer m.userns.mu.Unlock()
	if m.userns.program == nil {
		return nil, fmt.Errorf("read user namespaces of pid %d: iterator not loaded: %w", pid, ebpf.ErrNotSupported)
	}
	r, err := openTaskIter(m.userns.program, pid)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var all []*UserNS
	err = m.userns.read(r, func(b []byte) error {
		rec, err := m.userns.decoder.Decode(b)
		if err != nil {
			return err
		}
		if u, ok := rec.(*UserNS); ok {
			all = append(all, u)
		}
		return nil
	})
	return all, err
}

// readProcesses needs the iterator's lock.
func (it *iterator) readProcesses(r io.Reader, f func(*Process)) error {
	return it.read(r, func(b []byte) error {
		rec, err := it.decoder.Decode(b)
		if err != nil {
			return err
		}
		if p, ok := rec.(*Process); ok {
			f(p)
		}
		return nil
	})
}

func (it *iterator) read(r io.Reader, f func([]byte) error) (err error) {
	it.buf, err = readRecords(r, it.buf, f)
	return err
}

// readRecords splits a seq_file into records; one read may end within one. buf
// is used, and returned for the next time: a look at one process is short, and a
// new buffer for each would keep the garbage collector busy.
func readRecords(r io.Reader, buf []byte, f func([]byte) error) ([]byte, error) {
	if cap(buf) < 64<<10 {
		buf = make([]byte, 0, 64<<10)
	}
	for buf = buf[:0]; ; {
		if cap(buf)-len(buf) < 32<<10 {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest := buf
		for len(rest) >= headerSize {
			h := readAs[identityEyasHeader](rest)
			if int(h.Size) > len(rest) {
				break
			}
			rec, after, nerr := Next(rest)
			if nerr != nil {
				return buf, nerr
			}
			if ferr := f(rec); ferr != nil {
				return buf, ferr
			}
			rest = after
		}
		buf = append(buf[:0], rest...)
		switch {
		case errors.Is(err, io.EOF):
			if len(buf) > 0 {
				return buf, fmt.Errorf("read iterator: %w: %d bytes left over", ErrMalformed, len(buf))
			}
			return buf, nil
		case errors.Is(err, unix.ESRCH):
			return buf, ErrNoProcess
		case err != nil:
			return buf, fmt.Errorf("read iterator: %w", err)
		}
	}
}

// openTaskIter opens a task iterator restricted to one task: union
// bpf_iter_link_info.task of include/uapi/linux/bpf.h, Linux 6.1. The ebpf
// library passes only the map variant, hence bpf(2) by hand.
func openTaskIter(p *ebpf.Program, pid uint32) (io.ReadCloser, error) {
	if pid == 0 {
		return nil, ErrNoProcess // 0 would mean: all
	}
	info := struct{ tid, pid, pidFD uint32 }{tid: pid}
	create := struct {
		progFD, targetFD, attachType, flags uint32
		info                                uint64
		infoLen, pad                        uint32
	}{
		progFD: uint32(p.FD()), attachType: uint32(ebpf.AttachTraceIter),
		info: uint64(uintptr(unsafe.Pointer(&info))), infoLen: uint32(unsafe.Sizeof(info)),
	}
	linkFD, err := bpfCall(unix.BPF_LINK_CREATE, unsafe.Pointer(&create), unsafe.Sizeof(create))
	keepAlive(&info)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil, ErrNoProcess
		}
		return nil, fmt.Errorf("attach iterator to pid %d: %w", pid, err)
	}
	defer unix.Close(linkFD)
	open := struct{ linkFD, flags uint32 }{linkFD: uint32(linkFD)}
	fd, err := bpfCall(unix.BPF_ITER_CREATE, unsafe.Pointer(&open), unsafe.Sizeof(open))
	if err != nil {
		return nil, fmt.Errorf("open iterator on pid %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "bpf_iter"), nil
}

func bpfCall(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		switch errno {
		case 0:
			unix.CloseOnExec(int(fd))
			return int(fd), nil
		case unix.EINTR, unix.EAGAIN:
			continue
		}
		return -1, errno
	}
}
