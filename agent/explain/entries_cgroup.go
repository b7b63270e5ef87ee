package explain

import "github.com/eyas-agent/eyas/agent/doctor"

// leafFirst is the order in which a cgroup can be handed over.
const leafFirst = "As the entrypoint, before any engine runs: mkdir /sys/fs/cgroup/init; xargs -rn1 < /sys/fs/cgroup/cgroup.procs > /sys/fs/cgroup/init/cgroup.procs; " +
	"then sed -e 's/ / +/g' -e 's/^/+/' < /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control\n" +
	"eyas does so for pods with the annotation eyas.dev/sandbox: \"true\"; for others: eyas prepare --pid N"

// cgroupEntries are errors of the kernel's rules for the tree.
func cgroupEntries() []Entry {
	return []Entry{
		{
			ID: "subtree-control-busy", Error: "write /sys/fs/cgroup/cgroup.subtree_control: device or resource busy",
			Match: []string{"cgroup.subtree_control … device or resource busy", "failed to enable … controllers … device or resource busy"},
			Cause: "cgroup v2 has no processes in inner nodes: controllers cannot be enabled for the children of a cgroup that holds processes itself, as a container's own cgroup does.",
			Fix:   leafFirst, Seen: []string{"systemd#26311", "moby#43093"},
			Checks: inside(doctor.Warn, "cgroup-internal"), Covered: true,
		},
		{
			ID: "subtree-control-missing", Error: "write /sys/fs/cgroup/default/cgroup.subtree_control: no such file or directory",
			Match: []string{"cgroup.subtree_control … no such file or directory"},
			Cause: "A controller is to be enabled that the cgroup does not have: every cgroup above must enable it first, from the top down.",
			Fix: "See what is there: cat /sys/fs/cgroup/cgroup.controllers (inside), and cgroup.subtree_control of every cgroup above\n" +
				leafFirst, Seen: []string{"containerd#14040", "nydus-snapshotter#490"},
			Checks: inside(doctor.Warn, "cgroup-controllers"),
		},
		{
			ID: "cgroup-threaded", Error: "cannot enter cgroupv2 \"/sys/fs/cgroup/docker\" with domain controllers -- it is in threaded mode",
			Match: []string{"cannot enter cgroupv2 … it is in threaded mode", "cannot enter cgroupv2 … it is in an invalid state", "cannot enter cgroupv2 … invalid state", "cannot enter cgroupv2"},
			Cause: "cpu or pids were enabled while processes were in the cgroup, which made it threaded and its children invalid: memory and io cannot be used there.",
			Fix: "A threaded cgroup does not turn back: start the sandbox anew\n" +
				leafFirst, Seen: []string{"containerd#10083"},
			Checks: inside(doctor.Warn, "cgroup-type", "cgroup-internal"), Covered: true,
		},
		{
			ID: "cgroup-euclean", Error: "mkdir /sys/fs/cgroup/kubepods/pod1/x: Structure needs cleaning",
			Match: []string{"cgroup … structure needs cleaning", "failed to create … control group structure needs cleaning", "cgroup.procs … structure needs cleaning"},
			Cause: "EUCLEAN from cgroupfs is not a damaged disk: a child was made below a cgroup that holds processes or is threaded, and that child is invalid.",
			Fix:   leafFirst, Seen: []string{"kubernetes/test-infra#37440"},
			Checks: inside(doctor.Warn, "cgroup-internal", "cgroup-type"),
		},
		{
			ID: "cgroup-tree-stuck", Error: "crun: open `memory.max` for writing: No such file or directory",
			Match: []string{
				"memory.max for writing no such file or directory", "cpu.max for writing no such file or directory", "pids.max for writing no such file or directory",
				"failed to write … memory.max no such file or directory", "failed to write … cpu.max no such file or directory", "failed to write … pids.max no such file or directory",
				"cgroup.procs … operation not supported",
			},
			Cause: "An engine inside made cgroups before the sandbox's cgroup was prepared: they lack the controllers, or have become threaded, and stay so.",
			Fix: "Remove the cgroups that the engine made, from the innermost outwards (rmdir), or start the sandbox anew\n" +
				leafFirst, Seen: []string{"crun"},
			Checks: inside(doctor.Warn, "cgroup-type", "cgroup-controllers", "cgroup-internal"),
		},
		{
			ID: "cgroup-limit-reached", Error: "mkdir /sys/fs/cgroup/libpod: Resource temporarily unavailable",
			Match: []string{"mkdir … cgroup … resource temporarily unavailable", "cannot create directory … cgroup … resource temporarily unavailable"},
			Cause: "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached. Engines that are killed leave empty cgroups behind.",
			Fix: "Remove empty ones, innermost first: find /sys/fs/cgroup -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null\n" +
				"Or raise the bound from the node: echo 1024 > …/cgroup.max.descendants",
			Seen:  []string{"kernel: Documentation/admin-guide/cgroup-v2.rst"},
			Blind: "doctor sees the bounds (cgroup-bounds), not how many cgroups there are",
		},
	}
}
