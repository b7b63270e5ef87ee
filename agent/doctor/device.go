package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func deviceChecks() []check[*Node] {
	return []check[*Node]{
		{
			id: "dev-fuse", what: "/dev/fuse is there for everybody", look: (*Node).devFuse,
			why: "fuse-overlayfs, the way out where overlay cannot be mounted, needs it; a sandbox gets it with the node's mode",
			fix: "modprobe fuse; chmod 0666 /dev/fuse (udev does)",
		},
		{
			id: "dev-tun", what: "/dev/net/tun is there for everybody", look: (*Node).devTun,
			why: "slirp4netns and pasta, the networks of rootless engines, open it; mode 0600 locks all but root out",
			fix: "modprobe tun; chmod 0666 /dev/net/tun (udev does)",
		},
		{
			id: "fs-overlay", what: "the kernel has overlay", why: "nested engines store images in it; without, every container is a copy",
			fix:  "modprobe overlay, and list it in /etc/modules-load.d",
			look: func(n *Node, _ context.Context) finding { return n.filesystem("overlay") },
		},
		{
			id: "fs-fuse", what: "the kernel has fuse", why: "fuse-overlayfs is the way out where overlay cannot be mounted; a sandbox cannot load modules",
			fix:  "modprobe fuse, and list it in /etc/modules-load.d",
			look: func(n *Node, _ context.Context) finding { return n.filesystem("fuse") },
		},
	}
}

// Device numbers of Documentation/admin-guide/devices.txt.
var (
	fuseDevice = unix.Mkdev(10, 229)
	tunDevice  = unix.Mkdev(10, 200)
)

func (n *Node) devFuse(context.Context) finding { return n.device("/dev/fuse", fuseDevice) }
func (n *Node) devTun(context.Context) finding  { return n.device("/dev/net/tun", tunDevice) }

func (n *Node) device(path string, want uint64) finding {
	st, err := n.root.stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return warnf("no %s", path)
	}
	if err != nil {
		return unreadable(err)
	}
	return judgeDevice(path, st, want)
}

func judgeDevice(path string, st unix.Stat_t, want uint64) finding {
	mode := fmt.Sprintf("mode %04o, owner %d:%d", st.Mode&0o7777, st.Uid, st.Gid)
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != want:
		return failf("%s is not device %d:%d", path, unix.Major(want), unix.Minor(want))
	case st.Mode&0o006 != 0o006:
		return warnf("%s: %s", path, mode)
	}
	return okf("%s", mode)
}

func (n *Node) filesystem(name string) finding {
	s, err := n.proc.text("filesystems")
	if err != nil {
		return unreadable(err)
	}
	for line := range strings.SplitSeq(s, "\n") {
		if f := strings.Fields(line); len(f) > 0 && f[len(f)-1] == name {
			return okf("loaded")
		}
	}
	return warnf("not in /proc/filesystems")
}
