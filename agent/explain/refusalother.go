package explain

import (
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// otherwise is of refusals for which the kernel asked for no capability, and met
// no limit: what is left depends on the call.
func otherwise(d identity.DenialAnswer) (cause, fix string) {
	if d.CapabilityUnknown {
		return "whether a capability was missing is not known here: the program that tells is missing", "eyas doctor node says why (hook denials_capable); the capability is likely the one that the call's manual names"
	}
	switch d.Error {
	case "EROFS":
		return "the file system, or the mount, is read-only there", "write to a volume or a tmpfs (emptyDir), or mount it read-write: readOnlyRootFilesystem, ro of the mount, and /proc/sys of a container are meant to be so"
	case "ENOSPC":
		return "the file system is full (space or inodes), or a project quota of it is used up", "eyas du CHAIN shows what fills the upper layers; df and df -i in the container"
	case "EDQUOT":
		return "a quota of its user, group or project is used up: on the disk that of host ids, which are the sandbox's range", "repquota, or the storage's own tool, for the host id of the process; ephemeral-storage of the pod"
	}
	switch d.Op {
	case "mount":
		if d.Error == "EACCES" {
			return "a security module (AppArmor, SELinux) refused the mount, or the device is read-only", "the node's audit log (ausearch -m avc, journalctl -k) names the module; give the outer container a profile that allows mounts (a pod: appArmorProfile)"
		}
		return "no capability was missing: what comes from outside the user namespace keeps its flags (read-only, nosuid, nodev, noexec) and cannot be mounted without what is mounted upon it; " +
				"and a new procfs or sysfs may not show what the present one hides",
			"unhide /proc in the outer container (a pod: procMount: Unmasked with hostUsers: false; podman: --security-opt unmask=ALL), bind mount /proc instead, or keep the flags in a remount"
	case "fork", "unshare":
		if d.Flags&unix.CLONE_NEWUSER != 0 {
			return "user namespaces are refused to it: by the node (kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces), because its own ids are not mapped, because it is in a chroot, or because it is 32 levels deep",
				"eyas doctor node and eyas doctor CHAIN --try say which"
		}
		return "no capability was missing: it is 32 levels deep, or a security module (AppArmor, SELinux) refused it", "eyas doctor CHAIN --try; the node's audit log (ausearch -m avc, journalctl -k) names the module"
	case "setgroups":
		return "setgroups is denied in its user namespace: a user maps its own gid only with that (user_namespaces(7))", "map gids with newgidmap (a range in /etc/subgid) instead of the user's own alone; tar and apt: run them without dropping groups"
	case "uid_map", "gid_map":
		if d.Error == "EINVAL" {
			return "the map is malformed, overlaps, or has more than 340 lines", "eyas map CHAIN shows the maps around it"
		}
		return "the map was written before, has ids that the writer's user namespace does not map, or maps more than the writer's own id without the capability for it; for gids, setgroups must be denied first",
			"let newuidmap and newgidmap write it (with file capabilities or setuid), with ranges of /etc/subuid and /etc/subgid that the outer map has: eyas doctor CHAIN --try"
	case "setgroups_file":
		return "setgroups is allowed or denied once, and before the gid map is written", "write it first"
	case "chmod":
		return "the process does not own the file, and its owner may not be mapped; or the file is immutable", "eyas explain path FILE --in CHAIN; lsattr FILE"
	case "chown":
		return "the file is immutable, or its file system or a security module refuses it", "lsattr FILE; for NFS: root_squash makes root nobody, export with no_root_squash or chown on the server"
	case "inotify":
		return "too many open files (RLIMIT_NOFILE); or, where eyas cannot see limits of user namespaces, too many inotify instances or watches of its user", "raise the limit (ulimit -n; podman run --ulimit nofile), or fs.inotify.max_user_instances and max_user_watches on the node"
	case "bpf", "perf_event_open":
		return "the node refuses it to those without privileges (kernel.unprivileged_bpf_disabled, kernel.perf_event_paranoid)", "do it on the node"
	case "ptrace":
		return "the other process is not the caller's, has changed its credentials, or kernel.yama.ptrace_scope allows children alone", "be of the same user namespace and user; the container may need --cap-add SYS_PTRACE"
	case "key":
		return "the keyring is not the caller's", "start containers without a session keyring (podman: keyring=false in containers.conf)"
	}
	return "the kernel asked for no capability: the call itself has a rule against it, or a security module (AppArmor, SELinux) refused it", "the node's audit log (ausearch -m avc, journalctl -k) names the module"
}
