package denials

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// traces are those who have every refused call told. The first one begins it and
// the last one ends it.
type traces struct {
	mu sync.Mutex // held while programs are attached and detached
	n  atomic.Int32
}

func (t *traces) on() bool { return t.n.Load() > 0 }

// Trace has every refused call of nested processes told, whatever it is, until ctx
// ends. That costs every system call of the node. began hears when it is on, and why
// parts of it do not tell, by hook; an error of it ends the trace.
func (c *Collector) Trace(ctx context.Context, began func(missing map[string]string) error) error {
	if err := c.startTrace(); err != nil {
		return err
	}
	defer c.stopTrace()
	missing := map[string]string{}
	for _, h := range c.o.Source.Traces() {
		missing[h.Name] = string(h.State) + ": " + h.Reason
	}
	if err := began(missing); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (c *Collector) startTrace() error {
	c.traces.mu.Lock()
	defer c.traces.mu.Unlock()
	if c.traces.n.Load() == 0 {
		if err := c.o.Source.StartTrace(DriveFiltered); err != nil {
			return fmt.Errorf("trace refused calls: %w", err)
		}
		c.o.Log.Info().Msg("every refused call of nested processes is traced")
	}
	c.traces.n.Add(1)
	return nil
}

func (c *Collector) stopTrace() {
	c.traces.mu.Lock()
	defer c.traces.mu.Unlock()
	if c.traces.n.Add(-1) > 0 {
		return
	}
	if err := c.o.Source.StopTrace(); err != nil {
		c.o.Log.Error().Err(err).Msg("end the trace of refused calls")
		return
	}
	c.o.Log.Info().Msg("refused calls are no longer traced")
}

// DriveFiltered makes system calls under a seccomp filter that allows all, one of
// which looks at the modes of a file and one changes them, in a thread that ends
// with that.
func DriveFiltered() error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // that thread would not end
			defer runtime.UnlockOSThread()
			done <- DriveFiltered()
			return
		}
		done <- filtered() // locked for good: the filter ends with the thread
	}()
	return <-done
}

func filtered() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	allow := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: seccompAllow}}
	program := unix.SockFprog{Len: uint16(len(allow)), Filter: &allow[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("set a seccomp filter that allows all: %w", errno)
	}
	fd, err := unix.MemfdCreate("eyas-self-test", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return fmt.Errorf("change a file's modes: %w", err)
	}
	return unix.Access("/", unix.R_OK)
}

const seccompAllow = 0x7fff0000 // SECCOMP_RET_ALLOW, include/uapi/linux/seccomp.h
