package explain

import (
	"slices"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// writable is how a container gets a cgroup mount that it may write to.
const writable = "containerd 2.1, in a handler with a RuntimeClass of its own: [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.sandbox] cgroup_writable = true\n" +
	"CRI-O: the annotation cgroup2-mount-hierarchy-rw.crio.io: \"true\"\n" +
	"eyas does all of it for pods with the annotation eyas.dev/sandbox: \"true\"; for others: eyas prepare --pid N"

// delegationEntries are errors of a cgroup that was not handed over.
func delegationEntries() []Entry {
	given := inside(doctor.Warn, "cgroup-mount", "cgroup-owner", "cgroup-files")
	return []Entry{
		{
			ID: "cgroup-not-delegated", Error: "cannot set memory limit: container could not join or create cgroup",
			Match: []string{"container could not join or create cgroup"},
			Cause: "The engine may not write to its cgroup, so there is nothing that a limit could be set on.",
			Fix:   "Delegate the cgroup, or drop the limits (podman run --cgroups=disabled)\n" + writable,
			Seen:  []string{"podman#16921"}, Checks: given, Covered: true,
		},
		{
			ID: "controller-not-available", Error: "the requested cgroup controller `cpu` is not available",
			Match: []string{"requested cgroup controller … is not available"},
			Cause: "The controller is not enabled in the cgroup above the engine's: on a systemd host users get memory and pids only, in a container nothing unless it was delegated.",
			Fix: "systemd host: mkdir -p /etc/systemd/system/user@.service.d; printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf; systemctl daemon-reload\n" +
				"In a container: " + leafFirst,
			Seen:   []string{"podman: troubleshooting"},
			Checks: slices.Concat(inside(doctor.Warn, "cgroup-controllers"), onNode(doctor.Warn, "cgroup-controllers", "cgroup-kubepods")), Covered: true,
		},
		{
			ID: "cgroup-mkdir-denied", Error: "mkdir: can't create directory '/sys/fs/cgroup/init': Permission denied",
			Match: []string{"mkdir … sys fs cgroup … permission denied", "cannot create directory … sys fs cgroup … permission denied"},
			Cause: "The cgroup mount is writable, but the directory belongs to somebody else: runc with the cgroupfs driver never chowns it, crun gives it to the container's root, not to its user.",
			Fix: "Use the systemd cgroup driver (kubelet: cgroupDriver: systemd; containerd: SystemdCgroup = true)\n" +
				"Or let eyas hand it over: the annotation eyas.dev/sandbox: \"true\", or eyas prepare --pid N",
			Seen: []string{"moby#45378"}, Checks: inside(doctor.Warn, "cgroup-owner", "cgroup-files"), Covered: true,
		},
		{
			ID: "cgroup-read-only", Error: "mkdir /sys/fs/cgroup/init: read-only file system",
			Match: []string{
				"mkdir … sys fs cgroup … read only file system", "cannot create directory … sys fs cgroup … read only file system",
				"cgroup.subtree_control … read only file system", "cgroup.procs … read only file system",
			},
			Cause: "Containers get /sys/fs/cgroup read-only unless the runtime is told otherwise.",
			Fix:   writable, Seen: []string{"containerd#10924", "youki#3597"}, Checks: inside(doctor.Warn, "cgroup-mount"), Covered: true,
		},
		{
			ID: "init-scope", Error: "Failed to create /init.scope control group: Permission denied",
			Match: []string{"failed to create … init.scope control group", "failed to allocate manager object … permission denied"},
			Cause: "systemd in the container cannot make its own cgroup: the mount is read-only, or the directory does not belong to the container's root.",
			Fix:   "Give systemd's container a cgroup of its own, and a cgroup namespace (not privileged, or --cgroupns=private)\n" + writable,
			Seen:  []string{"cri-o#9768"}, Checks: given, Covered: true,
		},
		{
			ID: "kind-delegate", Error: "UserNS: cpu controller needs to be delegated",
			Match: []string{"userns … controller needs to be delegated", "running kind with rootless provider requires setting systemd property delegate"},
			Cause: "kind's node image found a controller missing in its cgroup: kubelet inside needs cpu, cpuset, memory and pids.",
			Fix: "systemd host: [Service] Delegate=yes in /etc/systemd/system/user@.service.d/delegate.conf; systemctl daemon-reload\n" +
				"One session: systemd-run --scope --user -p Delegate=yes kind create cluster\n" +
				"In a container: " + leafFirst,
			Seen:   []string{"kind: docs/user/rootless"},
			Checks: slices.Concat(inside(doctor.Warn, "cgroup-controllers"), onNode(doctor.Warn, "cgroup-controllers")),
		},
	}
}
