package explain

import (
	"fmt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// filtered is of calls that a seccomp filter answers.
func filtered(d identity.DenialAnswer) (cause, fix string) {
	cause = fmt.Sprintf("a seccomp filter of its container, or of one around it, answers %s with %s: the kernel never saw the call", d.Syscall, d.Error)
	if d.Error == "ENOSYS" {
		return cause, "nothing, if the program goes on: it is to take an older call instead; else a profile that allows it"
	}
	return cause, "give the outer container a profile that allows what nesting needs: seccompProfile: {type: Localhost, localhostProfile: eyas/sandbox.json} (the agent puts it on the node: --install-profiles), or --security-opt seccomp=FILE; inside, the engine's own: podman run --security-opt seccomp=FILE"
}

// mode is of files that modes, an ACL, a flag or a security module forbid.
func mode(d identity.DenialAnswer) (cause, fix string) {
	who := fileText(d)
	if d.Error == "EPERM" {
		return "the file (" + who + ") is immutable or append-only, or a security module (AppArmor, SELinux) refused it", "lsattr FILE on the node; the node's audit log (ausearch -m avc, journalctl -k) names the module"
	}
	cause = fmt.Sprintf("a file or a directory on the way to it (%s) does not allow it to host uid %d by its modes or its ACL, or a security module (AppArmor, SELinux) refused it", who, d.Host.UID)
	if d.OwnerUID != nil && d.OwnerGID != nil && len(d.UIDs) > 0 {
		_, uid := d.UIDs.FromHost(*d.OwnerUID)
		_, gid := d.GIDs.FromHost(*d.OwnerGID)
		if !uid || !gid {
			cause += fmt.Sprintf("; its user namespace (%s) does not map both owner and group, so that its root has no power over it either", mapText(d.UIDs))
		}
	}
	return cause, "eyas explain path FILE --in CHAIN shows its ids at every level; chown or chmod it, or run as a user who may; getfacl FILE; the node's audit log (ausearch -m avc) names a module"
}

// fileText describes the file that a refusal was about.
func fileText(d identity.DenialAnswer) string {
	if d.OwnerUID == nil || d.OwnerGID == nil || d.FileMode == nil {
		return "not known"
	}
	kind := "mode"
	if *d.FileMode&0o170000 == 0o040000 {
		kind = "directory, mode"
	}
	return fmt.Sprintf("inode %d on device %s, %s %04o, of host uid %d and gid %d", d.Inode, d.Device, kind, *d.FileMode&0o7777, *d.OwnerUID, *d.OwnerGID)
}

// served is of files whose modes are not what decides.
func served(d identity.DenialAnswer) (cause, fix string) {
	who := fileText(d)
	switch d.FileSystem {
	case "fuse":
		return "the process that serves this FUSE file system refused it (" + who + "), or its modes did; or the mount is for the user namespace that mounted it alone (no allow_other)",
			"mount it with allow_other (user_allow_other in /etc/fuse.conf), or do it as the user who mounted it; the log of what serves it says more"
	case "9p":
		return "the host of this 9p file system refused it (" + who + "): it acts with ids of its own", "map the ids where it is served, or use a volume of another kind"
	}
	return fmt.Sprintf("the server of this %s file system refused it (%s): it knows the process as host uid %d and gid %d, and makes nobody of what it does not trust (root_squash: of uid 0; without the same ids on both sides: of all)",
			d.FileSystem, who, d.Host.UID, d.Host.GID),
		"give the files on the server to the host ids of the sandbox (eyas map CHAIN), which are not root's, or export with all_squash,anonuid=,anongid= of them; no_root_squash helps the node's root alone. Stores of images do not work there: use a local volume"
}
