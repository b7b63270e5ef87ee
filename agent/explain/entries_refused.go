package explain

// refusedEntries are refusals that programs in a container print, whose cause
// eyas explain CHAIN tells of the very call.
func refusedEntries() []Entry {
	return []Entry{
		{
			ID: "mknod-not-permitted", Error: "mknod: /dev/sda: Operation not permitted",
			Match: []string{"mknod … operation not permitted", "mknodat … operation not permitted"},
			Cause: "Devices are made by the node alone: it takes CAP_MKNOD in the node's user namespace, which no container with a user namespace of its own has, --privileged and root in it neither.",
			Fix: "Bind mount the device that is needed: podman run --device /dev/fuse, which of a user without rights is a bind mount\n" +
				"In an image: do without device files; a sandbox that eyas prepares has /dev/fuse and /dev/net/tun\n" +
				"eyas explain CHAIN says of which user namespace the capability was missing.",
			Seen:  []string{"user_namespaces(7)"},
			Blind: "which capability was missing, and in which user namespace, is told of the call: eyas explain CHAIN",
		},
		{
			ID: "sethostname-not-permitted", Error: "hostname: sethostname: Operation not permitted",
			Match: []string{"sethostname … operation not permitted", "hostname you must be root to change the host name"},
			Cause: "The UTS namespace belongs to a user namespace further out, or the container lacks CAP_SYS_ADMIN in its own.",
			Fix: "Give the container its name from outside: podman run --hostname NAME, without --uts=host\n" +
				"Or, inside, in a namespace of its own: unshare --user --map-root-user --uts",
			Seen:  []string{"uts_namespaces(7)"},
			Blind: "what a container may do in which user namespace is told of the call: eyas explain CHAIN",
		},
		{
			ID: "rlimit-not-permitted", Error: "crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted",
			Match: []string{"setrlimit rlimit_nofile operation not permitted", "setrlimit rlimit_nproc operation not permitted", "error setting rlimit type … operation not permitted", "error setting rlimits … operation not permitted"},
			Cause: "The engine wants a hard limit above its own: raising one takes CAP_SYS_RESOURCE in the node's user namespace.",
			Fix: "Ask for no more than the engine has (ulimit -Hn): podman run --ulimit nofile=1024:1024\n" +
				"For all containers, in containers.conf: [containers] default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n" +
				"Or raise the limits of what is around: LimitNOFILE of the runtime's service, --ulimit of the outer container",
			Seen:  []string{"podman: troubleshooting"},
			Blind: "limits are of each process: prlimit --pid PID shows them",
		},
	}
}
