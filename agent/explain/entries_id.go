package explain

import (
	"slices"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// idEntries are errors of ids that a user namespace does not have.
func idEntries() []Entry {
	narrow := slices.Concat(inside(doctor.Warn, "userns"), inside(doctor.Fail, "subuid", "subgid"))
	return []Entry{
		{
			ID: "chown-unmapped-id", Error: "lchown /etc/gshadow: invalid argument",
			Match: []string{"lchown … invalid argument", "lchownat … invalid argument", "fchownat … invalid argument", "changing ownership of … invalid argument", "chown … invalid argument"},
			Cause: "The file is to belong to a uid or gid that the user namespace does not map: images have files of shadow (gid 42), nobody (65534) and of large uids.",
			Fix: "Give the engine more ids: /etc/subuid and /etc/subgid with up to 65535 ids, idsPerPod: 65536 or more in kubelet's userNamespaces\n" +
				"Then let podman take notice: podman system migrate\n" +
				"With one id only, in storage.conf: [storage.options.overlay] ignore_chown_errors = \"true\"",
			Seen:   []string{"rootlesskit#304"},
			Checks: narrow,
		},
		{
			ID: "insufficient-ids", Error: "potentially insufficient UIDs or GIDs available in user namespace",
			Match: []string{"potentially insufficient uids or gids available", "there might not be enough ids available in the namespace"},
			Cause: "An image has a file of a uid or gid that the engine's user namespace does not map; or the store lies on NFS, where no chown to another uid works.",
			Fix: "Widen the ranges in /etc/subuid and /etc/subgid, then: podman system migrate\n" +
				"Keep the store on a local disk or an emptyDir, not on NFS: graphroot in storage.conf",
			Seen:   []string{"podman#9416"},
			Checks: slices.Concat(narrow, inside(doctor.Fail, "store")),
		},
		{
			ID: "id-beyond-pod", Error: "container ID 6553600 cannot be mapped to a host ID",
			Match: []string{"container id … cannot be mapped to a host id"},
			Cause: "A file of the image belongs to an id that is larger than the pod has: ids of a pod with hostUsers: false end at 65535 unless idsPerPod says more. Snapshotters other than overlayfs show it of any image when they unpack with wrong maps.",
			Fix: "In kubelet's configuration, on a drained node: userNamespaces: {idsPerPod: 131072}\n" +
				"Or fix the image: RUN chown -R 1000:1000 the path whose uid is that large (find / -uid +65535)",
			Seen:  []string{"containerd#12329", "bottlerocket#4854"},
			Blind: "the ids are in the image; doctor does not read images",
		},
		{
			ID: "user-unmapped", Error: "setup user: invalid argument",
			Match: []string{
				"setup user … invalid argument", "cannot set uid to unmapped user in user namespace", "cannot set gid to unmapped user in user namespace",
				"setresuid to … invalid argument", "setresgid to … invalid argument",
			},
			Cause: "The container shall run as a uid or gid that its user namespace does not map (runAsUser, USER of the image, --user).",
			Fix: "Choose an id that the map has: cat /proc/self/uid_map inside shows them\n" +
				"Or widen the map: --uidmap, /etc/subuid and /etc/subgid, or kubelet's idsPerPod",
			Seen:   []string{"podman: troubleshooting"},
			Checks: narrow,
		},
		{
			ID: "apt-setgroups", Error: "E: setgroups 65534 failed - setgroups (1: Operation not permitted)",
			Match: []string{"setgroups failed setgroups", "setegid failed setegid", "seteuid failed seteuid", "setgroups failed"},
			Cause: "apt drops its rights to the user _apt, and cannot: the user namespace maps a single id, or its setgroups is on deny, as unshare -r and engines without /etc/subgid make it.",
			Fix: "Give the engine ranges in /etc/subuid and /etc/subgid, then: podman system migrate\n" +
				"Or, in the image: echo 'APT::Sandbox::User \"root\";' > /etc/apt/apt.conf.d/10sandbox",
			Seen:   []string{"podman#21422"},
			Checks: slices.Concat(narrow, inside(doctor.Warn, "newgidmap")),
		},
		{
			ID: "create-as-unmapped", Error: "Value too large for defined data type",
			Match: []string{"value too large for defined data type"},
			Cause: "EOVERFLOW: a file is to be created, or chowned, by an id that the mount's or the file system's id map does not have. (Of old 32-bit programs it is about large files instead.)",
			Fix: "Give the mount a map that has the ids of the container: podman run -v /data:/data:idmap, or idmap=uids=0-1000-65536;gids=0-1000-65536\n" +
				"eyas explain path FILE --in CHAIN shows the mount's map.",
			Seen:  []string{"podman#24918", "runc#3985"},
			Blind: "the maps of mounts are not doctor's: ask eyas explain path FILE --in CHAIN",
		},
		{
			ID: "tar-entry-denied", Error: "processing tar file: open /root/.bash_logout: permission denied",
			Match: []string{
				"processing tar file … open … permission denied", "unpacking failed … open … permission denied", "open root.bash_logout permission denied",
			},
			Cause: "The engine's store lies on NFS or another network file system: root of a user namespace is a plain user for the server, which refuses what that user may not do.",
			Fix: "Keep the store on a local file system: graphroot = \"/var/tmp/dev/storage\" in ~/.config/containers/storage.conf\n" +
				"In a pod: an emptyDir at /home/dev/.local/share/containers",
			Seen:   []string{"podman: troubleshooting"},
			Checks: inside(doctor.Fail, "store"),
		},
	}
}
