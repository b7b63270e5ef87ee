package denials

import "golang.org/x/sys/unix"

// legacyCalls are those that newer architectures do without.
func legacyCalls() []call {
	return []call{
		{unix.SYS_CHOWN, 0, none, none},
		{unix.SYS_LCHOWN, 0, none, none},
		{unix.SYS_CHMOD, 0, 0, 0},
		{unix.SYS_MKNOD, 0, 0, 0},
	}
}
