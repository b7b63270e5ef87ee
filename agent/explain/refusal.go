package explain

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Refusal says in words what was refused, why, and what helps. No text of the
// sandbox is in it.
type Refusal struct {
	What  string `json:"what"`
	Cause string `json:"explanation"`
	Fix   string `json:"fix"`
}

// Refused explains a refusal.
func Refused(d identity.DenialAnswer) Refusal {
	r := Refusal{What: fmt.Sprintf("%s refused (%s)", doing(d), d.Error)}
	switch d.Cause {
	case "capability":
		r.Cause, r.Fix = capability(d)
	case "owner_unmapped":
		r.Cause, r.Fix = owner(d)
	case "id_unmapped":
		r.Cause, r.Fix = unmapped(d)
	case "userns_limit":
		r.Cause = fmt.Sprintf("user.%s is reached in %s, or in a user namespace around it", d.Limit, levelText(d.TargetLevel))
		r.Fix = fmt.Sprintf("find out who holds them (eyas tree), or raise it where it is lowest: sysctl user.%s on the node; inside, /proc/sys/user/%[1]s limits what is further inside", d.Limit)
	case "pids_max":
		r.Cause = "pids.max of its cgroup, or of one around it, is reached: the container's own limit, the sandbox's or the pod's"
		r.Fix = "see who has the processes (eyas ps CHAIN); else raise the limit: podman run --pids-limit, or the pod's (podPidsLimit of kubelet)"
	case "process_limit":
		r.Cause = "its user has as many processes as RLIMIT_NPROC lets it have, counted in its user namespace and in those around it; or the node has no pids or threads left (kernel.pid_max, kernel.threads-max)"
		r.Fix = "raise it for the runtime's user (ulimit -u; containerd: LimitNPROC of its service), or run fewer processes as this user"
	case "key_quota":
		r.Cause = "its user's quota of kernel keys is used up: every container that starts makes a session keyring"
		r.Fix = "raise kernel.keys.maxkeys and kernel.keys.maxbytes on the node, or start containers without one (podman: keyring=false in containers.conf)"
	case "cgroup_limit":
		r.Cause = "cgroup.max.descendants or cgroup.max.depth of a cgroup around is reached"
		r.Fix = "remove cgroups that are left (rmdir), or raise max-descendants or max-depth of the profile"
	case "seccomp":
		r.Cause, r.Fix = filtered(d)
	case "mode":
		r.Cause, r.Fix = mode(d)
	case "file_server":
		r.Cause, r.Fix = served(d)
	default:
		r.Cause, r.Fix = otherwise(d)
	}
	return r
}

// doing names the call with what was asked for.
func doing(d identity.DenialAnswer) string {
	ids := func(verb string) string {
		var of []string
		if d.AskedUID != nil {
			of = append(of, fmt.Sprintf("uid %d", *d.AskedUID))
		}
		if d.AskedGID != nil {
			of = append(of, fmt.Sprintf("gid %d", *d.AskedGID))
		}
		return strings.TrimSpace(verb + " " + strings.Join(of, " and "))
	}
	switch d.Op {
	case "chown":
		if d.AskedUID == nil && d.AskedGID == nil {
			return "chown"
		}
		return ids("chown to")
	case "setuid", "setgid":
		return ids(d.Op + " to")
	case "fork", "unshare", "setns":
		if names := namespaces(d.Flags); names != "" {
			return d.Op + " with " + names
		}
		return d.Op
	case "access":
		return "access to a file"
	case "call":
		return d.Syscall
	case "uid_map", "gid_map":
		return "writing a " + strings.ReplaceAll(d.Op, "_", " ")
	case "setgroups_file":
		return "writing /proc/PID/setgroups"
	case "cgroup":
		return "making a cgroup"
	case "scheduling":
		return "setting a priority or scheduler"
	case "module":
		return "loading a kernel module"
	case "key":
		return "making a kernel key"
	case "inotify":
		return "an inotify instance or watch"
	}
	return d.Op
}

// namespaces names the namespaces among the flags of clone(2) and its kin.
func namespaces(flags uint32) string {
	var names []string
	for _, f := range []struct {
		flag uint32
		name string
	}{
		{unix.CLONE_NEWUSER, "user"}, {unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWNS, "mount"}, {unix.CLONE_NEWNET, "network"},
		{unix.CLONE_NEWUTS, "UTS"}, {unix.CLONE_NEWIPC, "IPC"}, {unix.CLONE_NEWCGROUP, "cgroup"}, {unix.CLONE_NEWTIME, "time"},
	} {
		if flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "a " + names[0] + " namespace"
	}
	return strings.Join(names, ", ") + " namespaces"
}

// levelText names a user namespace by its level.
func levelText(level int) string {
	if level == 0 {
		return "the node's user namespace"
	}
	return fmt.Sprintf("the user namespace at level %d", level)
}

func capability(d identity.DenialAnswer) (cause, fix string) {
	inner := d.Chain[len(d.Chain)-1]
	switch {
	case d.UserLevel < 0:
		cause = fmt.Sprintf("it takes %s in %s, and the process, in a user namespace that is gone by now, did not have it there", d.Capability, levelText(d.TargetLevel))
		fix = around(d)
	case d.UserLevel == 0 && d.TargetLevel == 0:
		cause = fmt.Sprintf("the process lacks %s, and its user namespace is the node's: there it is a power over the whole node", d.Capability)
		fix = "give the sandbox a user namespace of its own (a pod: hostUsers: false), in which its root has the capability without harm; add the capability to the container only if it may do that to the node"
	case d.TargetLevel < d.UserLevel:
		cause = fmt.Sprintf("it takes %s in %s, and the process is in one at level %d: no process in there has it, root neither", d.Capability, levelText(d.TargetLevel), d.UserLevel)
		fix = around(d)
	case d.TargetLevel > d.UserLevel:
		cause = fmt.Sprintf("it takes %s in %s, further inside than the process's own: only the user who made that one has it there", d.Capability, levelText(d.TargetLevel))
		fix = "do it as the user who made that namespace, or from inside it (nsenter --user first)"
	case d.Target != 0 && inner.UserNS != 0 && d.Target != inner.UserNS:
		cause = fmt.Sprintf("it takes %s in user namespace %d, which is another one than the process's, and not inside it", d.Capability, d.Target)
		fix = "do it from a process of that namespace (nsenter --user first)"
	default:
		cause = fmt.Sprintf("the process lacks %s in its own user namespace: its runtime dropped it, or it is not root there", d.Capability)
		fix = fmt.Sprintf("run it as root of the container, or give the container the capability (--cap-add %s; in a pod: capabilities.add)", strings.TrimPrefix(d.Capability, "CAP_"))
	}
	return cause, fix
}

// around says what to do instead of what takes a capability further out.
func around(d identity.DenialAnswer) string {
	switch d.Op {
	case "uid_map", "gid_map":
		return "let newuidmap and newgidmap write it (with file capabilities or setuid), with ranges in /etc/subuid and /etc/subgid that the outer map has: eyas doctor CHAIN --try"
	case "mount", "umount":
		return "mount in a mount namespace of the process's own user namespace (unshare --user --mount, or the runtime's own), file systems that it may mount there; else bind what the node has mounted"
	case "mknod":
		return "only the node makes devices: bind mount the one that is needed (/dev/fuse, /dev/net/tun: eyas prepares them)"
	case "sethostname":
		return "take a UTS namespace of its own (podman run without --uts=host; unshare --user --uts)"
	case "chroot":
		return "take a user namespace first (unshare --user --map-root-user)"
	case "setns", "unshare", "fork":
		return "enter, or make, the user namespace first, then the others: they must belong to one that the process is root of"
	case "setrlimit":
		return "set the limit from outside (the runtime's service, --ulimit of the outer container): it cannot be raised inside"
	case "scheduling":
		return "do without: priorities and schedulers are the node's (podman and runc go on without)"
	case "setxattr":
		return "use user.* attributes, or a storage driver that does (overlay with userxattr; fuse-overlayfs): security.* and trusted.* are the node's"
	}
	if d.TargetLevel > 0 {
		return "do it from outside, in the user namespace that the capability is wanted in (nsenter --user), or do without"
	}
	return "do it on the node, or do without: it is about the whole node"
}

func owner(d identity.DenialAnswer) (cause, fix string) {
	var who []string
	if d.OwnerUID != nil {
		if _, ok := d.UIDs.FromHost(*d.OwnerUID); !ok {
			who = append(who, ownerText("uid", uint32(*d.OwnerUID)))
		}
	}
	if d.OwnerGID != nil {
		if _, ok := d.GIDs.FromHost(*d.OwnerGID); !ok {
			who = append(who, ownerText("gid", uint32(*d.OwnerGID)))
		}
	}
	if len(who) == 0 { // the map was not known, or has changed
		who = append(who, "its owner or group")
	}
	cause = fmt.Sprintf("the file belongs to %s, which the process's user namespace (%s) does not map: it shows as 65534 (nobody) there, and no capability helps", strings.Join(who, " and "), mapText(d.UIDs))
	fix = "on the node, chown the file to ids of that range, or mount it with an id map (mount -o X-mount.idmap, a volume of a pod with hostUsers: false); eyas explain path FILE --in CHAIN shows its ids at every level"
	return cause, fix
}

// ownerText names an owner, as a mount shows it.
func ownerText(what string, id uint32) string {
	if id == unmappedID {
		return "a " + what + " that the id map of its mount does not have"
	}
	return fmt.Sprintf("host %s %d", what, id)
}

const unmappedID = 4294967295 // INVALID_UID, include/linux/uidgid.h

func unmapped(d identity.DenialAnswer) (cause, fix string) {
	var who []string
	if d.AskedUID != nil {
		if _, ok := d.UIDs.ToHost(*d.AskedUID); !ok {
			who = append(who, fmt.Sprintf("uid %d is outside its map (%s)", *d.AskedUID, mapText(d.UIDs)))
		}
	}
	if d.AskedGID != nil {
		if _, ok := d.GIDs.ToHost(*d.AskedGID); !ok {
			who = append(who, fmt.Sprintf("gid %d is outside its map (%s)", *d.AskedGID, mapText(d.GIDs)))
		}
	}
	if d.Error == "EOVERFLOW" {
		return "its own uid or gid, which the new file would get, is not mapped in the user namespace that the file system is of",
			"do it as a user who is mapped: nsenter --user, or --setuid and --setgid to one of eyas map CHAIN"
	}
	if len(who) == 0 {
		who = append(who, fmt.Sprintf("an id that was asked for is outside its map (%s)", mapText(d.UIDs)))
	}
	return strings.Join(who, "; "), "widen the range of the user who runs it in /etc/subuid and /etc/subgid of the sandbox, and let the runtime take it up (podman system migrate); " +
		"a sandbox that eyas prepares gets 65536 ids, or more with size in its profile; or use an id that is mapped (an image with ids below 65536)"
}
