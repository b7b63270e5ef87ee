package denials

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// legacyCalls are those that newer architectures do without.
func legacyCalls() []call {
	return []call{
		{unix.SYS_CHOWN, 0, none, none},
		{unix.SYS_LCHOWN, 0, none, none},
		{unix.SYS_CHMOD, 0, 0, 0},
		{unix.SYS_MKNOD, 0, 0, 0},
	}
}

// inotifyInit makes an instance by the old call.
func inotifyInit() error {
	fd, _, errno := unix.Syscall(unix.SYS_INOTIFY_INIT, 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("inotify_init: %w", errno)
	}
	return unix.Close(int(fd))
}
