package explain

import (
	"slices"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// namespaceEntries are errors of making namespaces. rootlesskit, buildkitd and
// containerd make them by starting themselves anew: "fork/exec /proc/self/exe".
func namespaceEntries() []Entry {
	return []Entry{
		{
			ID: "userns-no-space", Error: "fork/exec /proc/self/exe: no space left on device",
			Match: []string{"fork exec … exe no space left on device", "unshare failed no space left on device", "cannot clone no space left on device", "unshare clone_newuser no space left on device"},
			Cause: "Not the disk: the bound on user namespaces, or on another kind, is 0 or reached (user.max_*_namespaces; it is counted per user and for every level above).",
			Fix: "sysctl -w user.max_user_namespaces=28633, and the same line in /etc/sysctl.d\n" +
				"See what is used: lsns -t user | wc -l",
			Seen:   []string{"buildkit: docs/rootless.md"},
			Checks: onNode(doctor.Warn, "userns-max", "namespaces-max"),
		},
		{
			ID: "userns-invalid", Error: "fork/exec /proc/self/exe: invalid argument",
			Match: []string{"fork exec … exe invalid argument"},
			Cause: "User namespaces are off: on old kernels (RHEL 7, CentOS 7) user.max_user_namespaces=0 shows as \"invalid argument\"; so does a kernel without CONFIG_USER_NS, and a map that the kernel refuses.",
			Fix: "sysctl -w user.max_user_namespaces=28633, and the same line in /etc/sysctl.d\n" +
				"RHEL 7: grubby --args=user_namespace.enable=1 --update-kernel=ALL, and a reboot",
			Seen:   []string{"buildkit#1188"},
			Checks: onNode(doctor.Fail, "userns-max", "userns-probe"),
		},
		{
			ID: "userns-not-permitted", Error: "fork/exec /proc/self/exe: operation not permitted",
			Match: []string{
				"fork exec … exe operation not permitted", "unshare failed operation not permitted", "cannot clone operation not permitted",
				"creating new namespace failed … operation not permitted", "unshare clone_newuser operation not permitted", "clone clone_newuser operation not permitted",
			},
			Cause: "Making a user namespace is forbidden: by the seccomp profile (RuntimeDefault refuses unshare and clone without CAP_SYS_ADMIN), by Debian's kernel.unprivileged_userns_clone=0, or by a security module. So it is to a process whose own uid or gid its user namespace does not map, and after chroot.",
			Fix: "In the pod: seccompProfile: {type: Localhost, localhostProfile: profiles/podman.json}   (a profile such as podman's)\n" +
				"On the node: sysctl -w kernel.unprivileged_userns_clone=1\n" +
				"Do not add CAP_SYS_ADMIN instead: keyctl and mounts are refused next.",
			Seen:   []string{"rootlesskit#172"},
			Checks: slices.Concat(onNode(doctor.Fail, "userns-clone", "userns-probe"), inside(doctor.Fail, "seccomp")),
		},
		{
			ID: "userns-apparmor", Error: "fork/exec /proc/self/exe: permission denied",
			Match: []string{"fork exec … exe permission denied", "unshare failed permission denied", "write to proc self uid_map … permission denied apparmor"},
			Cause: "AppArmor restricts unprivileged user namespaces (Ubuntu 23.10, 24.04 and later): a program without a profile that allows userns gets one without capabilities, or none.",
			Fix: "In a pod: appArmorProfile: {type: Localhost, localhostProfile: NAME} whose profile has the rule \"userns,\"\n" +
				"On the node, less strict: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
			Seen:   []string{"buildkit: docs/rootless.md"},
			Checks: onNode(doctor.Warn, "userns-apparmor"),
		},
		{
			ID: "userns-not-enabled", Error: "cannot clone: Invalid argument; user namespaces are not enabled in /proc/sys/user/max_user_namespaces",
			Match: []string{"user namespaces are not enabled", "cannot clone invalid argument"},
			Cause: "The node allows no user namespaces: Bottlerocket and hardened images set user.max_user_namespaces to 0.",
			Fix: "sysctl -w user.max_user_namespaces=28633\n" +
				"Bottlerocket: apiclient set --json '{\"settings\":{\"kernel\":{\"sysctl\":{\"user.max_user_namespaces\":\"28633\"}}}}'",
			Seen:   []string{"coder: docs"},
			Checks: onNode(doctor.Fail, "userns-max", "userns-probe"), Covered: true,
		},
		{
			ID: "keyctl-not-permitted", Error: "crun: create keyring `393dc72765dc`: Operation not permitted",
			Match: []string{
				"create keyring … operation not permitted", "join keyctl … operation not permitted", "join session keyring … operation not permitted",
				"create session key operation not permitted",
			},
			Cause: "The seccomp profile refuses keyctl. RuntimeDefault does so also with CAP_SYS_ADMIN, which is why that capability alone does not make engines run.",
			Fix: "In the pod: seccompProfile: {type: Localhost, localhostProfile: profiles/podman.json}   (a profile such as podman's)\n" +
				"Or, in containers.conf: [containers] keyring = false; for runc and crun: --no-new-keyring",
			Seen:   []string{"podman#11037", "crun#402"},
			Checks: inside(doctor.Fail, "seccomp"),
		},
		{
			ID: "ping-group-range", Error: "crun: open `/proc/sys/net/ipv4/ping_group_range`: Read-only file system",
			Match: []string{"ping_group_range … read only file system", "write sysctl … ping_group_range … invalid argument"},
			Cause: "The engine's default sysctl cannot be written: /proc/sys is read-only in a container whose /proc is masked. With \"invalid argument\", the range asked for is wider than the user namespace.",
			Fix: "In the pod: hostUsers: false and securityContext: {procMount: Unmasked}\n" +
				"Or, in containers.conf: [containers] default_sysctls = []",
			Seen:   []string{"podman: containers.conf(5)"},
			Checks: inside(doctor.Fail, "proc-unmasked"),
		},
		{
			ID: "reopen-sysctl-denied", Error: "open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied",
			Match: []string{"reopen fd … permission denied"},
			Cause: "runc with the fix of CVE-2025-52881 opens files of /proc through detached mounts. AppArmor sees no path for those and refuses, in LXC and in containers with a profile.",
			Fix: "Update the outer runtime and its AppArmor profile to versions that know of it\n" +
				"Until then: appArmorProfile: {type: Localhost, localhostProfile: NAME} with a patched profile; in Proxmox: lxc.apparmor.profile: unconfined",
			Seen:  []string{"runc#4968"},
			Blind: "the kernel does not show what an AppArmor profile refuses; look for apparmor=\"DENIED\" in dmesg",
		},
	}
}
