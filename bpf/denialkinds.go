package bpf

import "strconv"

// DenialOp is what was refused.
type DenialOp uint16

// DenialCause is why.
type DenialCause uint16

// Causes. IDs of a Denial are, of CauseOwner, the uid and gid of the file as its
// mount shows them to the host (4294967295: the mount's id map does not have it);
// of calls that take ids, what was asked for, as the caller gave it (4294967295:
// nothing), real, effective and saved in this order; of CauseMode and CauseServer
// uid, gid and mode of the file; of forks, unshare and setns
// the flags, of prlimit and keyctl what it is about.
const (
	CauseOther      = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_OTHER)
	CauseCapability = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_CAPABILITY)
	CauseOwner      = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_OWNER)
	CauseID         = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_ID)
	CauseUCount     = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_UCOUNT)
	CausePids       = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_PIDS)
	CauseProcesses  = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_PROCESSES)
	CauseKeys       = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_KEYS)
	CauseCgroups    = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_CGROUPS)
	CauseSeccomp    = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_SECCOMP)
	CauseMode       = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_MODE)
	CauseServer     = DenialCause(denialsEyasDenialCauseEYAS_CAUSE_SERVER)
)

// callShift is where the number of a system call begins in the detail of DeniedCall,
// of causes that have a detail themselves.
const callShift = 6

// Of returns the detail of a cause of an operation, without the number of the system
// call that is beside it.
func (c DenialCause) Of(op DenialOp, detail uint16) uint16 {
	if op == DeniedCall && (c == CauseCapability || c == CauseUCount) {
		return detail & (1<<callShift - 1)
	}
	return detail
}

// Operations.
const (
	DeniedFork          = DenialOp(denialsEyasDenialOpEYAS_DENIED_FORK)
	DeniedUnshare       = DenialOp(denialsEyasDenialOpEYAS_DENIED_UNSHARE)
	DeniedSetns         = DenialOp(denialsEyasDenialOpEYAS_DENIED_SETNS)
	DeniedMount         = DenialOp(denialsEyasDenialOpEYAS_DENIED_MOUNT)
	DeniedUmount        = DenialOp(denialsEyasDenialOpEYAS_DENIED_UMOUNT)
	DeniedChown         = DenialOp(denialsEyasDenialOpEYAS_DENIED_CHOWN)
	DeniedChmod         = DenialOp(denialsEyasDenialOpEYAS_DENIED_CHMOD)
	DeniedSetuid        = DenialOp(denialsEyasDenialOpEYAS_DENIED_SETUID)
	DeniedSetgid        = DenialOp(denialsEyasDenialOpEYAS_DENIED_SETGID)
	DeniedSetgroups     = DenialOp(denialsEyasDenialOpEYAS_DENIED_SETGROUPS)
	DeniedMknod         = DenialOp(denialsEyasDenialOpEYAS_DENIED_MKNOD)
	DeniedHostname      = DenialOp(denialsEyasDenialOpEYAS_DENIED_HOSTNAME)
	DeniedChroot        = DenialOp(denialsEyasDenialOpEYAS_DENIED_CHROOT)
	DeniedPtrace        = DenialOp(denialsEyasDenialOpEYAS_DENIED_PTRACE)
	DeniedBPF           = DenialOp(denialsEyasDenialOpEYAS_DENIED_BPF)
	DeniedPerf          = DenialOp(denialsEyasDenialOpEYAS_DENIED_PERF)
	DeniedKey           = DenialOp(denialsEyasDenialOpEYAS_DENIED_KEY)
	DeniedInotify       = DenialOp(denialsEyasDenialOpEYAS_DENIED_INOTIFY)
	DeniedRlimit        = DenialOp(denialsEyasDenialOpEYAS_DENIED_RLIMIT)
	DeniedPriority      = DenialOp(denialsEyasDenialOpEYAS_DENIED_PRIORITY)
	DeniedModule        = DenialOp(denialsEyasDenialOpEYAS_DENIED_MODULE)
	DeniedClock         = DenialOp(denialsEyasDenialOpEYAS_DENIED_CLOCK)
	DeniedXattr         = DenialOp(denialsEyasDenialOpEYAS_DENIED_XATTR)
	DeniedUIDMap        = DenialOp(denialsEyasDenialOpEYAS_DENIED_UID_MAP)
	DeniedGIDMap        = DenialOp(denialsEyasDenialOpEYAS_DENIED_GID_MAP)
	DeniedSetgroupsFile = DenialOp(denialsEyasDenialOpEYAS_DENIED_SETGROUPS_FILE)
	DeniedCgroup        = DenialOp(denialsEyasDenialOpEYAS_DENIED_CGROUP)
	DeniedAccess        = DenialOp(denialsEyasDenialOpEYAS_DENIED_ACCESS)
	DeniedCall          = DenialOp(denialsEyasDenialOpEYAS_DENIED_CALL)
)

// String returns the name that metrics and answers use; of an unknown cause, its
// number.
func (c DenialCause) String() string {
	names := [...]string{
		CauseOther: "other", CauseCapability: "capability", CauseOwner: "owner_unmapped", CauseID: "id_unmapped",
		CauseUCount: "userns_limit", CausePids: "pids_max", CauseProcesses: "process_limit", CauseKeys: "key_quota", CauseCgroups: "cgroup_limit",
		CauseSeccomp: "seccomp", CauseMode: "mode", CauseServer: "file_server",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return strconv.Itoa(int(c))
}

// String returns the name that metrics and answers use; of an unknown operation,
// its number.
func (o DenialOp) String() string {
	names := [...]string{
		DeniedFork: "fork", DeniedUnshare: "unshare", DeniedSetns: "setns", DeniedMount: "mount", DeniedUmount: "umount",
		DeniedChown: "chown", DeniedChmod: "chmod", DeniedSetuid: "setuid", DeniedSetgid: "setgid", DeniedSetgroups: "setgroups",
		DeniedMknod: "mknod", DeniedHostname: "sethostname", DeniedChroot: "chroot", DeniedPtrace: "ptrace", DeniedBPF: "bpf",
		DeniedPerf: "perf_event_open", DeniedKey: "key", DeniedInotify: "inotify", DeniedRlimit: "setrlimit", DeniedPriority: "scheduling",
		DeniedModule: "module", DeniedClock: "clock_settime", DeniedXattr: "setxattr", DeniedUIDMap: "uid_map", DeniedGIDMap: "gid_map",
		DeniedSetgroupsFile: "setgroups_file", DeniedCgroup: "cgroup", DeniedAccess: "access", DeniedCall: "call",
	}
	if int(o) < len(names) {
		return names[o]
	}
	return strconv.Itoa(int(o))
}
