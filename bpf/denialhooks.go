package bpf

// DenialsCapable is the hook that tells which capability was missing.
const DenialsCapable = "denials_capable"

// denialPrograms are those of denials.bpf.c. Targets sys_* are system calls.
func denialPrograms() []trampolineInfo {
	return []trampolineInfo{
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_CAPABLE), DenialsCapable, "fexit/cap_capable", "which capability was missing, and in which user namespace"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_OWNER), "denials_owner", "fexit/privileged_wrt_inode_uidgid", "that the owner of a file is not mapped"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_ACCESS), "denials_access", "fexit/capable_wrt_inode_uidgid", "files that cannot be opened because their owner is not mapped"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_UCOUNT), "denials_ucount", "fexit/inc_ucount", "limits of user namespaces as a cause"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_PIDS), "denials_pids", "fexit/pids_can_fork", "pids.max as a cause"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FORK), "denials_fork", "fexit/kernel_clone", "refused forks and threads"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_UNSHARE), "denials_unshare", "fexit/sys_unshare", "refused unshare"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETNS), "denials_setns", "fexit/sys_setns", "refused setns"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_MOUNT), "denials_mount", "fexit/sys_mount", "refused mounts"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FSMOUNT), "denials_fsmount", "fexit/sys_fsmount", "refused mounts by fsmount"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FSCONFIG), "denials_fsconfig", "fexit/sys_fsconfig", "refused mounts by fsconfig"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FSOPEN), "denials_fsopen", "fexit/sys_fsopen", "refused mounts by fsopen"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_MOVE_MOUNT), "denials_move_mount", "fexit/sys_move_mount", "refused move_mount"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_OPEN_TREE), "denials_open_tree", "fexit/sys_open_tree", "refused open_tree"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_MOUNT_SETATTR), "denials_mount_setattr", "fexit/sys_mount_setattr", "refused mount_setattr"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_PIVOT_ROOT), "denials_pivot_root", "fexit/sys_pivot_root", "refused pivot_root"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_UMOUNT), "denials_umount", "fexit/sys_umount", "refused umounts"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_CHOWN), "denials_chown", "fexit/sys_chown", "refused chown"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_LCHOWN), "denials_lchown", "fexit/sys_lchown", "refused lchown"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FCHOWN), "denials_fchown", "fexit/sys_fchown", "refused fchown"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FCHOWNAT), "denials_fchownat", "fexit/sys_fchownat", "refused fchownat"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_CHMOD), "denials_chmod", "fexit/sys_chmod", "refused chmod"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FCHMOD), "denials_fchmod", "fexit/sys_fchmod", "refused fchmod"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FCHMODAT), "denials_fchmodat", "fexit/sys_fchmodat", "refused fchmodat"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETUID), "denials_setuid", "fexit/__sys_setuid", "refused setuid"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETREUID), "denials_setreuid", "fexit/__sys_setreuid", "refused setreuid"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETRESUID), "denials_setresuid", "fexit/__sys_setresuid", "refused setresuid"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETGID), "denials_setgid", "fexit/__sys_setgid", "refused setgid"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETREGID), "denials_setregid", "fexit/__sys_setregid", "refused setregid"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETRESGID), "denials_setresgid", "fexit/__sys_setresgid", "refused setresgid"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETGROUPS), "denials_setgroups", "fexit/sys_setgroups", "refused setgroups"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_MKNOD), "denials_mknod", "fexit/sys_mknod", "refused mknod"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_MKNODAT), "denials_mknodat", "fexit/sys_mknodat", "refused mknodat"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETHOSTNAME), "denials_sethostname", "fexit/sys_sethostname", "refused sethostname"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETDOMAINNAME), "denials_setdomainname", "fexit/sys_setdomainname", "refused setdomainname"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_CHROOT), "denials_chroot", "fexit/sys_chroot", "refused chroot"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_PTRACE), "denials_ptrace", "fexit/sys_ptrace", "refused ptrace"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_BPF), "denials_bpf", "fexit/sys_bpf", "refused bpf"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_PERF), "denials_perf", "fexit/sys_perf_event_open", "refused perf_event_open"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_ADD_KEY), "denials_add_key", "fexit/sys_add_key", "refused add_key"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_KEYCTL), "denials_keyctl", "fexit/sys_keyctl", "refused keyctl"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_INOTIFY_INIT), "denials_inotify_init", "fexit/sys_inotify_init", "refused inotify instances"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_INOTIFY_INIT1), "denials_inotify_init1", "fexit/sys_inotify_init1", "refused inotify instances"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_INOTIFY_WATCH), "denials_inotify_watch", "fexit/sys_inotify_add_watch", "refused inotify watches"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_PRLIMIT), "denials_prlimit", "fexit/sys_prlimit64", "refused prlimit"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETPRIORITY), "denials_setpriority", "fexit/sys_setpriority", "refused setpriority"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETSCHEDULER), "denials_setscheduler", "fexit/sys_sched_setscheduler", "refused sched_setscheduler"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETATTR), "denials_setattr", "fexit/sys_sched_setattr", "refused sched_setattr"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_INIT_MODULE), "denials_init_module", "fexit/sys_init_module", "refused init_module"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FINIT_MODULE), "denials_finit_module", "fexit/sys_finit_module", "refused finit_module"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETTIME), "denials_settime", "fexit/sys_clock_settime", "refused clock_settime"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETXATTR), "denials_setxattr", "fexit/sys_setxattr", "refused setxattr"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_LSETXATTR), "denials_lsetxattr", "fexit/sys_lsetxattr", "refused lsetxattr"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_FSETXATTR), "denials_fsetxattr", "fexit/sys_fsetxattr", "refused fsetxattr"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_UID_MAP), "denials_uid_map", "fexit/proc_uid_map_write", "refused uid maps"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_GID_MAP), "denials_gid_map", "fexit/proc_gid_map_write", "refused gid maps"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SETGROUPS_FILE), "denials_setgroups_file", "fexit/proc_setgroups_write", "refused writes to /proc/PID/setgroups"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_CGROUP), "denials_cgroup", "fexit/cgroup_mkdir", "refused cgroups"},
	}
}

// seccompPrograms tell what seccomp filters answer. They cost every system call of
// every process that has a filter, and are there when they are asked for.
func seccompPrograms() []trampolineInfo {
	return []trampolineInfo{
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_SECCOMP), "denials_seccomp", "fexit/__secure_computing", "calls that a seccomp filter refuses"},
	}
}

// tracePrograms tell of every refused call. They cost every system call of the node,
// and each check of a file's modes: they are there for a while, when they are asked for.
func tracePrograms() []trampolineInfo {
	return []trampolineInfo{
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_CALL), "denials_call", "tp_btf/sys_exit", "refused calls that have no program of their own"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_MODE), "denials_mode", "fexit/inode_permission", "modes of files as a cause, and servers of file systems"},
		{uint32(denialsEyasDenialProgramEYAS_DENIALS_CHANGE), "denials_change", "fexit/notify_change", "servers of file systems as a cause that a file was not changed"},
	}
}
