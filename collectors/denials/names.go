package denials

import (
	"fmt"
	"sync"

	"github.com/elastic/go-seccomp-bpf/arch"
)

// syscalls are the node's names of system calls, by number. The table is the
// library's, generated from the kernel's own.
var syscalls = sync.OnceValue(func() map[int]string {
	info, err := arch.GetInfo("")
	if err != nil { // no such architecture
		return nil
	}
	return info.SyscallNumbers
})

func syscallText(n int32) string {
	if name := syscalls()[int(n)]; name != "" {
		return name
	}
	return fmt.Sprintf("system call %d", n)
}

// fileSystemText names a file system that somebody else serves, by its magic number
// (include/uapi/linux/magic.h).
func fileSystemText(magic uint32) string {
	names := map[uint32]string{
		0x6969: "nfs", 0xff534d42: "cifs", 0xfe534d42: "smb", 0x00c36400: "ceph", 0x01021997: "9p", 0x65735546: "fuse",
	}
	if name := names[magic]; name != "" {
		return name
	}
	return fmt.Sprintf("file system %#x", magic)
}

// capabilityText names a capability (include/uapi/linux/capability.h).
func capabilityText(n uint16) string {
	names := [...]string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
		"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
		"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
		"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
		"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprintf("capability %d", n)
}

// limitText names the sysctl below user. that a limit of user namespaces is: the
// kernel's enum ucount_type (include/linux/user_namespace.h), as configured by
// all distributions (with inotify).
func limitText(n uint16) string {
	names := [...]string{
		"max_user_namespaces", "max_pid_namespaces", "max_uts_namespaces", "max_ipc_namespaces", "max_net_namespaces",
		"max_mnt_namespaces", "max_cgroup_namespaces", "max_time_namespaces", "max_inotify_instances", "max_inotify_watches",
		"max_fanotify_groups", "max_fanotify_marks",
	}
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprintf("limit %d", n)
}
