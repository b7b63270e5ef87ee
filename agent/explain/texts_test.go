package explain

// realTexts are what programs print, by the entry that must come first.
var realTexts = map[string][]string{
	"newuidmap-not-permitted": {
		"newuidmap: write to uid_map failed: Operation not permitted",
		"newgidmap: write to gid_map failed: Operation not permitted",
		"ERRO[0000] running `/usr/bin/newuidmap 6014 0 1000 1 1 100000 65536`: newuidmap: write to uid_map failed: Operation not permitted \nError: cannot set up namespace using \"/usr/bin/newuidmap\": exit status 1",
		"[rootlesskit:parent] error: failed to setup UID/GID map: newuidmap 19 [0 1000 1 1 100000 65536] failed: newuidmap: write to uid_map failed: Operation not permitted\n: exit status 1",
		`{"log":"newuidmap: write to uid_map failed: Operation not permitted\n","stream":"stderr","time":"2026-01-31T03:00:00.1Z"}`,
	},
	"newuidmap-set-caps": {
		"newuidmap: Could not set caps",
		"[rootlesskit:parent] error: failed to setup UID/GID map: newuidmap 15 [0 1000 1 1 100000 65536] failed: newuidmap: Could not set caps\n: exit status 1",
	},
	"newuidmap-range-not-allowed": {
		"newuidmap: uid range [1-65536) -> [100000-165535) not allowed",
		"newgidmap: gid range [0-1) -> [1000-1001) not allowed",
		"ERRO[0000] running `/bin/newuidmap 41 0 1000 1 1 10000 65536`: newuidmap: uid range [1-65537) -> [10000-75536) not allowed",
	},
	"newuidmap-different-user": {
		"newuidmap: Target process 42 is owned by a different user: uid:1000 pw_uid:1000 st_uid:1000, gid:1000 pw_gid:1000 st_gid:0",
		"newuidmap: Target process is owned by a different user",
		"newuidmap: Target [pid] is owned by a different user: uid:0 pw_uid:0 st_uid:0, gid:0 pw_gid:0 st_gid:99",
	},
	"no-subid-ranges": {
		`[rootlesskit:parent] error: failed to setup UID/GID map: failed to compute uid/gid map: No subuid ranges found for user 1001 ("dev")`,
		`ERRO[0000] cannot find UID/GID for user dev: no subuid ranges found for user "dev" in /etc/subuid - check rootless mode in man pages.`,
	},
	"newuidmap-missing": {
		`exec: "newuidmap": executable file not found in $PATH`,
		`Error: command required for rootless mode with multiple IDs: exec: "newuidmap": executable file not found in $PATH`,
		`[rootlesskit:parent] error: failed to setup UID/GID map: failed to find newuidmap: exec: "newgidmap": executable file not found in $PATH`,
	},
	"newuidmap-no-filecaps": {
		`Error: cannot set up namespace using "/usr/bin/newuidmap": should have setuid or have filecaps setuid: exit status 1`,
		`Error: cannot set up namespace using newgidmap: should have setuid or have filecaps setgid: exit status 1`,
	},
	"keep-id-too-small": {"Error: creating container storage: not enough unused IDs in user namespace"},
	"chown-unmapped-id": {
		"failed to register layer: ApplyLayer exit status 1 stdout:  stderr: lchown /etc/gshadow: invalid argument",
		`failed to extract layer sha256:72e830a4dff5f0d5225cdc0a320e85ab1ce06ea5673acfe8d83a7645cbd0e9cf: failed to Lchown "/tmp/containerd-mount123/etc/gshadow" for UID 0, GID 42: lchown /tmp/containerd-mount123/etc/gshadow: invalid argument (Hint: try increasing the number of subordinate IDs in /etc/subuid and /etc/subgid): unknown`,
		"chown: changing ownership of '/var/lib/postgresql/data': Invalid argument",
		"chown: /x: Invalid argument",
	},
	"mknod-not-permitted": {"mknod: /tmp/a: Operation not permitted", "mknod: disk: Operation not permitted"},
	"sethostname-not-permitted": {
		"hostname: sethostname: Operation not permitted",
		"hostname: you must be root to change the host name",
	},
	"rlimit-not-permitted": {"Error: OCI runtime error: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted"},
	"insufficient-ids": {
		`Error: copying system image from manifest list: writing blob: adding layer with blob "sha256:7b1a6ab2e44dbac178598dabe7cff59bd67233dba0b27e4fbd1f9d4b3c877a54": processing tar file(potentially insufficient UIDs or GIDs available in user namespace (requested 0:42 for /etc/gshadow): Check /etc/subuid and /etc/subgid if configured locally and run "podman system migrate": lchown /etc/gshadow: invalid argument): exit status 1`,
	},
	"id-beyond-pod": {
		"Error: failed to create containerd container: mount callback failed on /var/lib/containerd/tmpmounts/containerd-mount3984021361: container ID 6553600 cannot be mapped to a host ID",
		"ApplyLayer exit status 1 stdout:  stderr: Container ID 100011 cannot be mapped to a host ID",
	},
	"user-unmapped": {
		`container_linux.go:345: starting container process caused "setup user: invalid argument"`,
		"runc run failed: unable to start container process: error during container init: setup user: cannot set uid to unmapped user in user namespace",
		"Error: OCI runtime error: crun: setresuid to `100000`: Invalid argument",
	},
	"apt-setgroups": {
		"E: setgroups 65534 failed - setgroups (1: Operation not permitted)\nE: setegid 65534 failed - setegid (22: Invalid argument)\nE: seteuid 100 failed - seteuid (22: Invalid argument)\nReading package lists... Done",
		"E: seteuid 42 failed - seteuid (22: Invalid argument)",
	},
	"create-as-unmapped": {
		"touch: cannot touch 'newfile': Value too large for defined data type",
		"mkdir /opt/test/x: value too large for defined data type",
	},
	"tar-entry-denied": {
		`Error: error creating build container: Error committing the finished image: error adding layer with blob "sha256:a02a4930cb5d36f3290eb84f4bfa30668ef2e9fe3a1fb73ec015fc58b9958b17": Error processing tar file(exit status 1): open /root/.bash_logout: permission denied`,
		`Error: writing blob: adding layer with blob "sha256:a02a4930cb5d36f3290eb84f4bfa30668ef2e9fe3a1fb73ec015fc58b9958b17": unpacking failed (error: exit status 1; output: open /home/x/.profile: permission denied)`,
		"open /root/.bash_logout: permission denied",
	},
	"userns-no-space": {
		"[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: no space left on device",
		"unshare: unshare failed: No space left on device",
	},
	"userns-invalid": {"[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: invalid argument"},
	"userns-not-permitted": {
		"[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: operation not permitted",
		"unshare: unshare failed: Operation not permitted",
		"cannot clone: Operation not permitted\nError: cannot re-exec process",
		"bwrap: Creating new namespace failed: Operation not permitted",
	},
	"userns-apparmor": {"[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: permission denied"},
	"userns-not-enabled": {
		"cannot clone: Invalid argument\nuser namespaces are not enabled in /proc/sys/user/max_user_namespaces\nError: could not get runtime: cannot re-exec process",
	},
	"keyctl-not-permitted": {
		"Error: crun: create keyring `410742b2d2de473d2cb955f29b6988303489c911db754cfeb48c80478866d843`: Operation not permitted: OCI permission denied",
		"crun: join keyctl `410742b2d2de473d2cb955f29b6988303489c911db754cfeb48c80478866d843`: Operation not permitted",
		"runc run failed: unable to start container process: error during container init: unable to join session keyring: unable to create session key: operation not permitted",
	},
	"ping-group-range": {"Error: OCI runtime error: crun: open `/proc/sys/net/ipv4/ping_group_range`: Read-only file system"},
	"reopen-sysctl-denied": {
		"Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied",
	},
	"share-mount-denied": {"[rootlesskit:child ] error: failed to share mount point: /: permission denied\n[rootlesskit:parent] error: child exited: exit status 1"},
	"proc-mount-not-permitted": {
		`runc run failed: unable to start container process: error during container init: error mounting "proc" to rootfs at "/proc": mount src=proc, dst=/proc, dstFd=/proc/thread-self/fd/8, flags=MS_NOSUID|MS_NODEV|MS_NOEXEC: operation not permitted`,
		`container_linux.go:380: starting container process caused: process_linux.go:545: container init caused: rootfs_linux.go:76: mounting "proc" to rootfs at "/proc" caused: mount through procfd: operation not permitted`,
		`error mounting "proc" to rootfs at "/proc": mount proc:/proc (via /proc/self/fd/6), flags: 0xe: operation not permitted: unknown`,
		"Error: OCI runtime error: crun: mount `proc` to `proc`: Operation not permitted",
		"bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
		"unshare: mount /proc failed: Operation not permitted",
	},
	"locked-mount-flags": {
		"error: failed to solve: failed to mount /home/user/.local/tmp/buildkit-mount2945823847: [{Type:bind Source:/home/user/.local/share/buildkit/runc-native/snapshots/snapshots/1 Target: Options:[rbind ro]}]: operation not permitted",
	},
	"sysfs-mount-not-permitted": {
		`runc create failed: unable to start container process: error during container init: error mounting "sysfs" to rootfs at "/sys": mount src=sysfs, dst=/sys, dstFd=/proc/thread-self/fd/11, flags=MS_RDONLY|MS_NOSUID|MS_NODEV|MS_NOEXEC: operation not permitted`,
		"crun: mount `sysfs` to `sys`: Operation not permitted",
	},
	"idmap-mount-unsupported": {
		"Error: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: failed to fulfil mount request: failed to set MOUNT_ATTR_IDMAP on /var/lib/kubelet/pods/f037a704-742c-40fe-8dbf-17ed9225c4df/volumes/kubernetes.io~empty-dir/hugepage: invalid argument (maybe the source filesystem doesn't support idmap mounts on this kernel?): unknown",
		"crun: mount_setattr `/data`: Invalid argument",
	},
	"snapshotter-no-idmap": {
		"failed to create containerd container: snapshotter \"overlayfs\" doesn't support idmap mounts on this host, configure `slow_chown` to allow a slower and expensive fallback",
	},
	"overlay-over-overlay": {
		"Error: configure storage: 'overlay' is not supported over overlayfs, a mount_program is required: backing file system is unsupported for this graph driver",
		`ERRO[0000] 'overlay' is not supported over overlayfs at "/var/lib/containers/storage/overlay": backing file system is unsupported for this graph driver`,
	},
	"fuse-device": {
		"fuse: device not found, try 'modprobe fuse' first",
		"fuse: device /dev/fuse not found. Kernel module not loaded?\nfuse-overlayfs: cannot mount: Operation not permitted",
		"fuse: failed to open /dev/fuse: Permission denied",
	},
	"tun-device": {
		"open(\"/dev/net/tun\"): No such file or directory\nWARNING: Support for seccomp is experimental",
		"Failed to open() /dev/net/tun: Permission denied",
		`time="2026-01-31T03:00:00Z" level=error msg="open /dev/net/tun: no such device"`,
	},
	"subtree-control-busy": {
		`failed to create nomad cgroup: write /sys/fs/cgroup/cgroup.subtree_control: device or resource busy`,
		"crun: write `+cpu` to `/sys/fs/cgroup/libpod/cgroup.subtree_control`: Device or resource busy",
	},
	"subtree-control-missing": {
		`time="2026-05-22T07:52:12.611032385Z" level=error msg="failed to enable controllers ([cpuset cpu io memory])" error="failed to write subtree controllers [cpuset cpu io memory] to \"/sys/fs/cgroup/default/cgroup.subtree_control\": write /sys/fs/cgroup/default/cgroup.subtree_control: no such file or directory"`,
	},
	"cgroup-threaded": {
		`failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply cgroup configuration: cannot enter cgroupv2 "/sys/fs/cgroup/docker" with domain controllers -- it is in threaded mode: unknown.`,
		`cannot enter cgroupv2 "/sys/fs/cgroup/docker/abc" with domain controllers -- it is in an invalid state`,
	},
	"cgroup-euclean": {
		"mkdir /sys/fs/cgroup/kubepods/burstable/pod1/x: structure needs cleaning",
		"Failed to create /init.scope control group: Structure needs cleaning",
	},
	"cgroup-tree-stuck": {
		"crun: open `memory.max` for writing: No such file or directory",
		"failed to write \"67108864\": open /sys/fs/cgroup/libpod/memory.max: no such file or directory",
		"crun: writing file `/sys/fs/cgroup/libpod/cgroup.procs`: Operation not supported",
	},
	"cgroup-limit-reached": {
		"mkdir: cannot create directory '/sys/fs/cgroup/a': Resource temporarily unavailable",
		"mkdir /sys/fs/cgroup/libpod: resource temporarily unavailable",
	},
	"cgroup-not-delegated": {"Error: runc: runc create failed: unable to start container process: unable to apply cgroup configuration: cannot set memory limit: container could not join or create cgroup: OCI runtime error"},
	"controller-not-available": {
		"Error: OCI runtime error: crun: the requested cgroup controller `cpu` is not available",
	},
	"cgroup-mkdir-denied": {
		"mkdir: can't create directory '/sys/fs/cgroup/init': Permission denied",
		"mkdir: cannot create directory ‘/sys/fs/cgroup/init’: Permission denied",
		"creating cgroup path /libpod_parent: mkdir /sys/fs/cgroup/libpod_parent: permission denied",
	},
	"cgroup-read-only": {
		"mkdir: cannot create directory '/sys/fs/cgroup/init': Read-only file system",
		"failed to open /sys/fs/cgroup/cgroup.subtree_control: Read-only file system (os error 30)",
	},
	"init-scope": {
		"Failed to create /init.scope control group: Permission denied\nFailed to allocate manager object: Permission denied\n[!!!!!!] Failed to allocate manager object.\nExiting PID 1...",
		"Failed to create /kubepods.slice/pod1.slice/init.scope control group: Read-only file system",
	},
	"kind-delegate": {
		"ERROR: UserNS: cpu controller needs to be delegated",
		`ERROR: failed to create cluster: running kind with rootless provider requires setting systemd property "Delegate=yes", see https://kind.sigs.k8s.io/docs/user/rootless/`,
	},
	"kubelet-last-block": {
		"Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create network namespace for sandbox: failed to start noop process for unshare: fork/exec /proc/self/exe: invalid argument",
	},
	"runtime-no-userns": {
		"Error syncing pod, skipping: can't set `spec.hostUsers: false`, runtime does not support user namespaces",
	},
	"kubelet-range-changed": {
		`"command failed" err="failed to run Kubelet: failed to create kubelet: create user namespace manager: record pod mappings: id 626982912 is out of range"`,
		`create user namespace manager: record pod mappings for existing pod "p": id 7340032 is out of range`,
	},
	"keys-quota": {
		"runc create failed: unable to start container process: unable to join session keyring: unable to create session key: disk quota exceeded",
		"Error: preparing container 1e42b038e9ac for attach: crun: create keyring `1e42b038e9ac2d1544a2facd7285ef947c00bf102469f1270e628d6472a7b3a3`: Disk quota exceeded: OCI runtime error",
		"container init caused: join session keyring: create session key: disk quota exceeded",
	},
}
