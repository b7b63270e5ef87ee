package explain

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestRefused: every cause is told with what was asked for, why not, and what helps.
func TestRefused(t *testing.T) {
	base := func(f func(*identity.DenialAnswer)) identity.DenialAnswer {
		d := identity.DenialAnswer{
			Op: "mount", Error: "EPERM", Cause: "other", UserLevel: 2, TargetLevel: 2, Target: 7,
			Chain: []identity.Link{{Kind: "node"}, {Kind: "container", UserNS: 7}},
			UIDs:  identity.UIDMap{{First: 0, Host: 1001, Count: 1000}}, GIDs: identity.GIDMap{{First: 0, Host: 1001, Count: 1000}},
		}
		f(&d)
		return d
	}
	for name, tc := range map[string]struct {
		set  func(*identity.DenialAnswer)
		what string
		says []string
	}{
		"chown": {func(d *identity.DenialAnswer) {
			d.Op, d.Error, d.Cause, d.AskedUID, d.AskedGID = "chown", "EINVAL", "id_unmapped", new(identity.UID(5000)), new(identity.GID(5))
		}, "chown to uid 5000 and gid 5 refused (EINVAL)", []string{"uid 5000 is outside its map (0-999→1001-2000)", "/etc/subuid"}},
		"group alone": {func(d *identity.DenialAnswer) {
			d.Op, d.Error, d.Cause, d.AskedGID = "chown", "EINVAL", "id_unmapped", new(identity.GID(6000))
		}, "chown to gid 6000 refused (EINVAL)", []string{"gid 6000 is outside its map"}},
		"no map": {func(d *identity.DenialAnswer) {
			d.Op, d.Error, d.Cause, d.AskedUID, d.UIDs = "setuid", "EINVAL", "id_unmapped", new(identity.UID(0)), nil
		}, "setuid to uid 0 refused (EINVAL)", []string{"outside its map (empty)"}},
		"ids not known": {func(d *identity.DenialAnswer) { d.Op, d.Error, d.Cause = "setgroups", "EINVAL", "id_unmapped" },
			"setgroups refused (EINVAL)", []string{"an id that was asked for"}},
		"owner": {func(d *identity.DenialAnswer) {
			d.Op, d.Error, d.Cause, d.OwnerUID, d.OwnerGID = "access", "EACCES", "owner_unmapped", new(identity.HostUID(0)), new(identity.HostGID(1001))
		}, "access to a file refused (EACCES)", []string{"belongs to host uid 0, which", "65534", "eyas explain path"}},
		"owner with a map that changed": {func(d *identity.DenialAnswer) {
			d.Op, d.Cause, d.OwnerUID, d.OwnerGID = "chown", "owner_unmapped", new(identity.HostUID(1001)), new(identity.HostGID(1001))
		}, "chown refused (EPERM)", []string{"its owner or group"}},
		"node's capability": {func(d *identity.DenialAnswer) {
			d.Cause, d.Capability, d.TargetLevel = "capability", "CAP_SYS_ADMIN", 0
		},
			"mount refused (EPERM)", []string{"CAP_SYS_ADMIN in the node's user namespace", "root neither", "unshare --user --mount"}},
		"pod in the node's user namespace": {func(d *identity.DenialAnswer) {
			d.Cause, d.Capability, d.UserLevel, d.TargetLevel = "capability", "CAP_SYS_ADMIN", 0, 0
		}, "mount refused", []string{"over the whole node", "hostUsers: false"}},
		"from a namespace that is gone": {func(d *identity.DenialAnswer) {
			d.Cause, d.Capability, d.UserLevel, d.TargetLevel = "capability", "CAP_SYS_ADMIN", -1, 1
		}, "mount refused", []string{"that is gone by now"}},
		"map from inside": {func(d *identity.DenialAnswer) {
			d.Op, d.Cause, d.Capability, d.TargetLevel = "uid_map", "capability", "CAP_SETUID", 1
		}, "writing a uid map refused", []string{"let newuidmap"}},
		"refused by a module": {func(d *identity.DenialAnswer) { d.Error = "EACCES" }, "mount refused (EACCES)", []string{"AppArmor"}},
		"outer capability": {func(d *identity.DenialAnswer) {
			d.Op, d.Cause, d.Capability, d.TargetLevel = "mknod", "capability", "CAP_MKNOD", 1
		}, "mknod refused", []string{"the user namespace at level 1", "/dev/fuse"}},
		"own capability": {func(d *identity.DenialAnswer) { d.Op, d.Cause, d.Capability = "chroot", "capability", "CAP_SYS_CHROOT" },
			"chroot refused", []string{"lacks CAP_SYS_CHROOT in its own", "--cap-add SYS_CHROOT"}},
		"inner capability": {func(d *identity.DenialAnswer) {
			d.Op, d.Cause, d.Capability, d.TargetLevel = "setns", "capability", "CAP_SYS_ADMIN", 3
		},
			"setns refused", []string{"further inside", "nsenter"}},
		"beside": {func(d *identity.DenialAnswer) {
			d.Op, d.Cause, d.Capability, d.Target = "setns", "capability", "CAP_SYS_ADMIN", 8
		},
			"setns refused", []string{"user namespace 8, which is another one"}},
		"userns limit": {func(d *identity.DenialAnswer) {
			d.Op, d.Error, d.Cause, d.Limit, d.Flags, d.TargetLevel = "unshare", "ENOSPC", "userns_limit", "max_user_namespaces", unix.CLONE_NEWUSER|unix.CLONE_NEWNET, 0
		}, "unshare with user, network namespaces refused (ENOSPC)", []string{"user.max_user_namespaces is reached in the node's", "sysctl user.max_user_namespaces"}},
		"pids.max":      {func(d *identity.DenialAnswer) { d.Op, d.Error, d.Cause = "fork", "EAGAIN", "pids_max" }, "fork refused (EAGAIN)", []string{"pids.max", "--pids-limit"}},
		"process limit": {func(d *identity.DenialAnswer) { d.Op, d.Error, d.Cause = "fork", "EAGAIN", "process_limit" }, "fork refused", []string{"RLIMIT_NPROC", "ulimit"}},
		"keys":          {func(d *identity.DenialAnswer) { d.Op, d.Error, d.Cause = "key", "EDQUOT", "key_quota" }, "making a kernel key", []string{"kernel.keys.maxkeys"}},
		"cgroups":       {func(d *identity.DenialAnswer) { d.Op, d.Error, d.Cause = "cgroup", "EAGAIN", "cgroup_limit" }, "making a cgroup", []string{"cgroup.max.descendants", "max-depth"}},
		"no userns": {func(d *identity.DenialAnswer) { d.Op, d.Flags = "fork", unix.CLONE_NEWUSER }, "fork with a user namespace refused",
			[]string{"kernel.unprivileged_userns_clone", "eyas doctor"}},
		"mount":     {func(*identity.DenialAnswer) {}, "mount refused", []string{"keeps its flags", "procMount"}},
		"uid map":   {func(d *identity.DenialAnswer) { d.Op = "uid_map" }, "writing a uid map", []string{"written before", "newuidmap"}},
		"bad map":   {func(d *identity.DenialAnswer) { d.Op, d.Error = "gid_map", "EINVAL" }, "writing a gid map", []string{"340"}},
		"setgroups": {func(d *identity.DenialAnswer) { d.Op = "setgroups" }, "setgroups refused", []string{"setgroups is denied", "/etc/subgid"}},
		"id mapped mount": {func(d *identity.DenialAnswer) {
			d.Op, d.Error, d.Cause, d.OwnerUID, d.OwnerGID = "access", "EACCES", "owner_unmapped", new(identity.HostUID(unmappedID)), new(identity.HostGID(1001))
		}, "access to a file refused (EACCES)", []string{"a uid that the id map of its mount does not have"}},
		"own id": {func(d *identity.DenialAnswer) { d.Op, d.Error, d.Cause = "mknod", "EOVERFLOW", "id_unmapped" },
			"mknod refused (EOVERFLOW)", []string{"its own uid or gid", "nsenter"}},
		"capabilities not told": {func(d *identity.DenialAnswer) { d.CapabilityUnknown = true }, "mount refused", []string{"is not known here", "denials_capable"}},
		"unheard of":            {func(d *identity.DenialAnswer) { d.Op = "99" }, "99 refused (EPERM)", []string{"AppArmor"}},
	} {
		r := Refused(base(tc.set))
		if !strings.HasPrefix(r.What, tc.what) {
			t.Errorf("%s: %q, want %q", name, r.What, tc.what)
		}
		for _, s := range tc.says {
			if !strings.Contains(r.Cause+"; "+r.Fix, s) {
				t.Errorf("%s: nothing of %q in:\n%s\n%s", name, s, r.Cause, r.Fix)
			}
		}
		if r.Cause == "" || r.Fix == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// Every operation has words of its own, and an answer without a cause.
	for _, op := range []string{"unshare", "setns", "umount", "chmod", "setgid", "sethostname", "ptrace", "bpf", "perf_event_open", "inotify", "setrlimit", "scheduling", "module", "clock_settime", "setxattr", "setgroups_file", "chown", "key"} {
		for _, cause := range []string{"other", "capability"} {
			r := Refused(base(func(d *identity.DenialAnswer) { d.Op, d.Cause, d.Capability, d.TargetLevel = op, cause, "CAP_X", 0 }))
			if r.Cause == "" || r.Fix == "" {
				t.Errorf("%s %s: %+v", op, cause, r)
			}
		}
	}
}
