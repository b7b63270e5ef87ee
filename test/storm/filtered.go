package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// runFiltered goes on as another program, under a seccomp filter: mkdir is refused
// with EPERM, and sync is not known (ENOSYS).
func runFiltered(args []string) error {
	if len(args) == 0 {
		return errors.New("filtered: want a command")
	}
	answer := func(errno unix.Errno, names ...string) seccomp.SyscallGroup {
		return seccomp.SyscallGroup{Action: seccomp.ActionErrno | seccomp.Action(errno), Names: names}
	}
	if err := seccomp.LoadFilter(seccomp.Filter{Flag: seccomp.FilterFlagTSync, NoNewPrivs: true, Policy: seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls:      []seccomp.SyscallGroup{answer(unix.EPERM, "mkdir", "mkdirat"), answer(unix.ENOSYS, "sync")},
	}}); err != nil {
		return fmt.Errorf("set a seccomp filter: %w", err)
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", path, unix.Exec(path, args, os.Environ()))
}
