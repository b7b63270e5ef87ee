package doctor

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func insideChecks() []check[*Container] {
	return []check[*Container]{
		{
			id: "dev-fuse", what: "/dev/fuse is usable inside", why: "fuse-overlayfs needs it where overlay cannot be mounted: \"fuse: device not found\"",
			fix:  "give the container the device, and a mode or group that its user has",
			look: func(c *Container, _ context.Context) finding { return c.device("/dev/fuse", fuseDevice) },
		},
		{
			id: "dev-tun", what: "/dev/net/tun is usable inside", why: "slirp4netns and pasta need it: \"open(/dev/net/tun): No such file or directory\"",
			fix:  "give the container the device, and a mode or group that its user has",
			look: func(c *Container, _ context.Context) finding { return c.device("/dev/net/tun", tunDevice) },
		},
		{
			id: "proc-unmasked", what: "nothing is mounted over parts of /proc", look: (*Container).procMasked,
			why: "while parts are hidden the kernel allows no new procfs in a user namespace: \"mount proc … operation not permitted\"",
			fix: "procMount: Unmasked with hostUsers: false, or an engine that does without (BuildKit's no-process-sandbox)",
		},
		{
			id: "store", what: "an engine's store can lie on a volume", look: (*Container).store,
			why: "an overlay cannot be the upper layer of an overlay: \"'overlay' is not supported over overlayfs, a mount_program is required\"; NFS cannot hold a store at all",
			fix: "mount an emptyDir where the engine keeps its store",
		},
	}
}

func (c *Container) device(path string, want uint64) finding {
	st, err := c.stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return warnf("no %s", path)
	}
	if err != nil {
		return unreadable(err)
	}
	f := judgeDevice(path, st, want)
	if euid, err := c.euid(); err == nil && f.state == Warn && euid == uint64(st.Uid) && st.Mode&0o600 == 0o600 {
		return okf("of its first process's user, mode %04o", st.Mode&0o7777)
	}
	return f
}

// procMasked looks for mounts over a procfs. binfmt_misc is mounted on a
// directory that is always empty, and hides nothing.
func (c *Container) procMasked(context.Context) finding {
	var over []string
	for _, m := range c.mounts {
		if strings.HasPrefix(m.point, "/proc/") && m.point != "/proc/sys/fs/binfmt_misc" && !slices.Contains(over, m.point) {
			over = append(over, m.point)
		}
	}
	if len(over) > 0 {
		return failf("%s", named(over))
	}
	return okf("whole")
}

// stores are where engines keep images by default; those below a home are of
// the first process's user.
func (c *Container) stores() []string {
	all := []string{"/var/lib/containers/storage", "/var/lib/docker", "/var/lib/buildkit"}
	if u, known := c.user(); known && strings.HasPrefix(u.home, "/") {
		for _, dir := range []string{"containers/storage", "docker", "buildkit"} {
			all = append(all, strings.TrimSuffix(u.home, "/")+"/.local/share/"+dir)
		}
	}
	return all
}

func (c *Container) store(context.Context) finding {
	var good, remote []string
	for _, dir := range c.stores() {
		m, found := mountOf(c.mounts, dir)
		switch {
		case !found || m.fstype == "overlay" || m.fstype == "fuse.fuse-overlayfs":
		case strings.HasPrefix(m.fstype, "nfs") || m.fstype == "cifs" || m.fstype == "smb3":
			remote = append(remote, dir+" on "+m.fstype)
		default:
			good = append(good, dir+" on "+m.fstype)
		}
	}
	switch {
	case len(remote) > 0:
		return failf("%s", named(remote))
	case len(good) == 0:
		return warnf("all usual places lie on the container's own overlay")
	}
	return okf("%s", named(good))
}

func privilegeChecks() []check[*Container] {
	return []check[*Container]{
		{
			id: "no-new-privs", what: "programs inside may gain privileges", look: (*Container).noNewPrivs,
			why: "with no_new_privs newuidmap's capabilities count for nothing: \"Could not set caps\"",
			fix: "allowPrivilegeEscalation: true",
		},
		{
			id: "seccomp", what: "its seccomp filter lets it make namespaces and mounts", look: (*Container).seccomp,
			why: "RuntimeDefault refuses unshare and mount without CAP_SYS_ADMIN: \"unshare: Operation not permitted\"",
			fix: "see with doctor --try; if it is refused, use a Localhost profile such as podman's",
		},
		{
			id: "capabilities", what: "its bounding set has CAP_SETUID and CAP_SETGID", look: (*Container).capabilities,
			why: "newuidmap and newgidmap cannot get what the container may never have",
			fix: "add SETUID and SETGID to the container's capabilities",
		},
	}
}

func (c *Container) noNewPrivs(context.Context) finding {
	s, err := c.field("NoNewPrivs")
	if err != nil {
		return unreadable(err)
	}
	if s == "0" {
		return okf("no_new_privs is off")
	}
	if uid, mapped := c.innerUID(); mapped && uid == 0 {
		return warnf("no_new_privs is on: rootless engines inside cannot map ids")
	}
	return failf("no_new_privs is on")
}

func (c *Container) seccomp(context.Context) finding {
	s, err := c.field("Seccomp")
	switch {
	case err != nil:
		return unreadable(err)
	case s == "0":
		return okf("no filter")
	case s == "1":
		return failf("strict mode: read, write and exit alone")
	}
	return unknownf("a filter is on; what it refuses the kernel does not show")
}

func (c *Container) capabilities(context.Context) finding {
	bounding, err := c.caps("CapBnd")
	if err != nil {
		return unreadable(err)
	}
	var lacks []string
	for _, k := range []struct {
		name string
		bit  int
	}{{"CAP_SETUID", unix.CAP_SETUID}, {"CAP_SETGID", unix.CAP_SETGID}} {
		if bounding&(1<<k.bit) == 0 {
			lacks = append(lacks, k.name)
		}
	}
	if len(lacks) > 0 {
		return failf("without %s: %#x", named(lacks), bounding)
	}
	return okf("%#x", bounding)
}
