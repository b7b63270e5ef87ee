package explain

import "github.com/eyas-agent/eyas/agent/doctor"

// kubeletEntries are errors of pods with hostUsers: false.
func kubeletEntries() []Entry {
	return []Entry{
		{
			ID: "kubelet-last-block", Error: "failed to start noop process for unshare: fork/exec /proc/self/exe: invalid argument",
			Match: []string{"failed to start noop process for unshare … invalid argument"},
			Cause: "kubelet gave the pod the last block of ids, which begins at 4294901760. It ends in 4294967295, which means \"no id\": the kernel refuses the map for ever.",
			Fix: "Delete the pod: kubectl delete pod NAME (a new one gets another block)\n" +
				"For good, on a drained node: echo kubelet:805306368:268435456 | tee -a /etc/subuid /etc/subgid",
			Seen:   []string{"kubernetes#139916"},
			Checks: onNode(doctor.Fail, "kubelet-records", "kubelet-range-terminal"), Covered: true,
		},
		{
			ID: "runtime-no-userns", Error: "can't set `spec.hostUsers: false`, runtime does not support user namespaces",
			Match: []string{"runtime does not support user namespaces"},
			Cause: "The container runtime, or the OCI runtime of the handler, is too old for pods with user namespaces.",
			Fix: "containerd 2.0 or CRI-O 1.25 and later, with runc 1.2 or crun 1.9 and later, and Linux 6.3\n" +
				"Then restart kubelet, which asks the runtime when it starts.",
			Seen:   []string{"openchoreo#3824"},
			Checks: onNode(doctor.Fail, "containerd-version", "crio-version", "runc-version", "crun-version", "kernel-version"),
		},
		{
			ID: "kubelet-range-changed", Error: "record pod mappings: id 626982912 is out of range",
			Match: []string{"record pod mappings … is out of range", "record pod mappings … out of range"},
			Cause: "kubelet's range of ids was changed (a line in /etc/subuid, the user kubelet, or getsubids installed) while pods with the old ids were on the node. kubelet does not start.",
			Fix: "Put the old range back, drain the node (kubectl drain NODE), then change it and start kubelet\n" +
				"If the pods are gone for good: remove their directories below /var/lib/kubelet/pods",
			Seen:   []string{"kubernetes#132966", "kubernetes#141941"},
			Checks: onNode(doctor.Fail, "kubelet-records"), Covered: true,
		},
	}
}

// limitEntries are errors of limits per user.
func limitEntries() []Entry {
	return []Entry{
		{
			ID: "keys-quota", Error: "unable to create session key: disk quota exceeded",
			Match: []string{"create session key disk quota exceeded", "join session keyring … disk quota exceeded", "create keyring … disk quota exceeded"},
			Cause: "Not the disk: every container has a session keyring, counted for its host uid, and kernel.keys.maxkeys (200) or maxbytes is reached.",
			Fix: "On the node: sysctl -w kernel.keys.maxkeys=2000 kernel.keys.maxbytes=2000000, and the same lines in /etc/sysctl.d\n" +
				"Or, in containers.conf: [containers] keyring = false",
			Seen:   []string{"podman#13363", "crun#981"},
			Checks: onNode(doctor.Warn, "keys"),
		},
	}
}
