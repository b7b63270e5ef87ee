package explain

import (
	"slices"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// mountEntries are errors of mounts and stores.
func mountEntries() []Entry {
	return []Entry{
		{
			ID: "share-mount-denied", Error: "failed to share mount point: /: permission denied",
			Match: []string{"failed to share mount point … permission denied"},
			Cause: "AppArmor forbids mount to the container: the runtime's default profile (cri-containerd.apparmor.d, docker-default) denies it even in a user namespace.",
			Fix: "In the pod: appArmorProfile: {type: Localhost, localhostProfile: NAME} whose profile has \"mount,\" and \"userns,\"\n" +
				"Where policy allows it: appArmorProfile: {type: Unconfined}",
			Seen:   []string{"buildkit#2441"},
			Checks: onNode(doctor.Warn, "userns-apparmor"),
		},
		{
			ID: "proc-mount-not-permitted", Error: "mount proc:/proc (via /proc/self/fd/6), flags: 0xe: operation not permitted",
			Match: []string{
				"mount proc … operation not permitted", "mounting proc to rootfs … operation not permitted", "error mounting proc … operation not permitted",
				"mount proc to proc … operation not permitted",
			},
			Cause: "The kernel allows a new procfs in a user namespace only where an unhidden one is visible: runtimes mask parts of /proc (/proc/kcore, /proc/sys, …).",
			Fix: "In the pod: hostUsers: false and securityContext: {procMount: Unmasked}\n" +
				"BuildKit without it: buildkitd --oci-worker-no-process-sandbox",
			Seen:   []string{"buildkit#4073", "runc#1658"},
			Checks: inside(doctor.Fail, "proc-unmasked"), Covered: true,
		},
		{
			ID: "locked-mount-flags", Error: "failed to mount: Options:[rbind ro]}]: operation not permitted",
			Match: []string{"options rbind ro operation not permitted", "options rbind operation not permitted", "options bind ro operation not permitted"},
			Cause: "The store lies on a mount with nosuid, nodev or noexec from an outer user namespace. These flags are locked: a bind mount that drops them is refused.",
			Fix:   "Put the store on a volume of its own: an emptyDir at /home/user/.local/share/buildkit (BuildKit) or /home/dev/.local/share/containers (podman)",
			Seen:  []string{"buildkit: docs/rootless.md"}, Checks: inside(doctor.Warn, "store"),
		},
		{
			ID: "sysfs-mount-not-permitted", Error: "error mounting \"sysfs\" to rootfs at \"/sys\": operation not permitted",
			Match: []string{"mounting sysfs … operation not permitted", "mount sysfs … operation not permitted"},
			Cause: "sysfs may be mounted only by the owner of the network namespace, and the container uses one of an outer user namespace (host network, or that of the pod).",
			Fix: "Give the nested container a network namespace of its own: podman run --network=slirp4netns or pasta, not --network=host\n" +
				"Or bind-mount /sys read-only instead of a new sysfs: -v /sys:/sys:ro",
			Seen:  []string{"runc#5309"},
			Blind: "it depends on how the nested container is started, which doctor does not see",
		},
		{
			ID: "idmap-mount-unsupported", Error: "failed to set MOUNT_ATTR_IDMAP on /var/lib/kubelet/pods/…: invalid argument",
			Match: []string{"failed to set mount_attr_idmap", "mount_setattr … invalid argument", "maybe the file system used doesn't support idmap mounts", "maybe the filesystem used doesn't support idmap mounts", "maybe the source filesystem doesn't support idmap mounts"},
			Cause: "The file system of a volume cannot be idmapped: NFS and many network and FUSE file systems never, tmpfs from Linux 6.3 on.",
			Fix: "Put the volume on ext4, xfs, btrfs or tmpfs, or upgrade the kernel\n" +
				"For a pod that must have that volume: hostUsers: true",
			Seen:   []string{"runc#4157", "crun#1380"},
			Checks: onNode(doctor.Warn, "idmap-mounts"),
		},
		{
			ID: "snapshotter-no-idmap", Error: "snapshotter \"overlayfs\" doesn't support idmap mounts on this host, configure `slow_chown` to allow a slower and expensive fallback",
			Match: []string{"snapshotter … doesn't support idmap mounts"},
			Cause: "containerd wants to idmap the image's layers, and the kernel is older than 5.19, or the layers lie on a file system that cannot.",
			Fix: "Upgrade to Linux 5.19 or later (6.3 for tmpfs volumes), with /var/lib/containerd on ext4, xfs or btrfs\n" +
				"Or, slow, in containerd's config.toml: [plugins.'io.containerd.snapshotter.v1.overlayfs'] slow_chown = true",
			Seen:   []string{"containerd: docs/user-namespaces"},
			Checks: onNode(doctor.Warn, "kernel-version", "idmap-mounts"),
		},
		{
			ID: "overlay-over-overlay", Error: "'overlay' is not supported over overlayfs, a mount_program is required",
			Match: []string{"overlay is not supported over overlayfs", "overlay is not supported over … a mount_program is required", "backing file system is unsupported for this graph driver"},
			Cause: "The engine's store lies on the container's own overlay, which cannot be the upper layer of another.",
			Fix: "Mount a volume where the store is: an emptyDir at /var/lib/containers or /home/dev/.local/share/containers\n" +
				"Or, slower, in storage.conf: [storage.options.overlay] mount_program = \"/usr/bin/fuse-overlayfs\", and /dev/fuse in the container",
			Seen:   []string{"buildah#3666"},
			Checks: inside(doctor.Warn, "store"),
		},
	}
}

// deviceEntries are errors of devices that a sandbox lacks.
func deviceEntries() []Entry {
	return []Entry{
		{
			ID: "fuse-device", Error: "fuse: device not found, try 'modprobe fuse' first",
			Match: []string{
				"fuse device not found", "fuse device dev fuse not found", "fuse failed to open dev fuse", "open dev fuse … no such file or directory",
				"open dev fuse … permission denied", "open dev fuse … operation not permitted", "cannot open dev fuse",
			},
			Cause: "fuse-overlayfs needs /dev/fuse: the node has not loaded the module, or the container was not given the device, or its mode locks the user out.",
			Fix: "On the node: modprobe fuse; echo fuse > /etc/modules-load.d/fuse.conf; chmod 0666 /dev/fuse\n" +
				"For the container: podman run --device /dev/fuse; in Kubernetes a device plugin, or the annotation eyas.dev/sandbox: \"true\"",
			Seen:   []string{"podman: troubleshooting"},
			Checks: slices.Concat(onNode(doctor.Warn, "dev-fuse", "fs-fuse"), inside(doctor.Warn, "dev-fuse")), Covered: true,
		},
		{
			ID: "tun-device", Error: "open(\"/dev/net/tun\"): No such file or directory",
			Match: []string{
				"open dev net tun no such", "open dev net tun permission denied", "open dev net tun operation not permitted", "failed to open dev net tun",
				"could not open dev net tun", "cannot open dev net tun", "dev net tun … no such device",
			},
			Cause: "slirp4netns and pasta need /dev/net/tun: the node has not loaded tun, the container was not given the device, or its mode (often 0600) locks the user out.",
			Fix: "On the node: modprobe tun; echo tun > /etc/modules-load.d/tun.conf; chmod 0666 /dev/net/tun\n" +
				"For the container: podman run --device /dev/net/tun; in Kubernetes a device plugin, or the annotation eyas.dev/sandbox: \"true\"",
			Seen:   []string{"podman#10001"},
			Checks: slices.Concat(onNode(doctor.Warn, "dev-tun"), inside(doctor.Warn, "dev-tun")), Covered: true,
		},
	}
}
