package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func idmapToolChecks() []check[*Node] {
	const why = "rootless engines write id maps of more than one id through this tool alone"
	return []check[*Node]{
		{
			id: "newuidmap", what: "newuidmap may write uid maps", why: why,
			fix:  "install uidmap (shadow-utils), and setcap cap_setuid+ep on it, or chmod u+s",
			look: func(n *Node, _ context.Context) finding { return n.idmapTool("newuidmap", unix.CAP_SETUID) },
		},
		{
			id: "newgidmap", what: "newgidmap may write gid maps", why: why,
			fix:  "install uidmap (shadow-utils), and setcap cap_setgid+ep on it, or chmod u+s",
			look: func(n *Node, _ context.Context) finding { return n.idmapTool("newgidmap", unix.CAP_SETGID) },
		},
	}
}

// toolDirs are where programs of a node are looked for; not in $PATH, which is
// that of whoever calls.
var toolDirs = []string{"usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin", "opt/cni/bin", "usr/libexec"}

func (n *Node) findTool(name string) (path string, found bool) {
	for _, dir := range toolDirs {
		path := filepath.Join("/", dir, name)
		if st, err := n.root.stat(path); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return path, true
		}
	}
	return "", false
}

func (n *Node) idmapTool(name string, want int) finding {
	path, found := n.findTool(name)
	if !found {
		return warnf("not installed: rootless engines on the node itself have one id each")
	}
	st, err := n.root.stat(path)
	if err != nil {
		return unreadable(err)
	}
	caps, err := n.root.fileCaps(path)
	if err != nil {
		return unreadable(err)
	}
	all, err := n.mounts()
	if err != nil {
		return unreadable(err)
	}
	if m, found := mountOf(all, path); found && has(m.options, "nosuid") {
		return failf("%s lies on %s, mounted nosuid", path, m.point)
	}
	switch {
	case caps.has(want):
		return okf("%s with file capabilities", path)
	case st.Mode&unix.S_ISUID != 0 && st.Uid == 0:
		return okf("%s is setuid root", path)
	}
	return failf("%s is neither setuid root nor has file capabilities: mode %04o, owner %d", path, st.Mode&0o7777, st.Uid)
}

// fileCaps are what a program's security.capability gives it.
type fileCaps struct {
	permitted uint64
	rootID    uint32 // user namespace root they count for; 0: everywhere
}

func (c fileCaps) has(bit int) bool { return c.permitted&(1<<bit) != 0 }

// Revisions of struct vfs_cap_data, include/uapi/linux/capability.h.
const (
	vfsCapRevision2 = 0x02000000
	vfsCapRevision3 = 0x03000000
)

// parseFileCaps reads a security.capability attribute; empty is none.
func parseFileCaps(b []byte) (fileCaps, error) {
	if len(b) == 0 {
		return fileCaps{}, nil
	}
	if len(b) < 20 {
		return fileCaps{}, fmt.Errorf("security.capability of %d bytes", len(b))
	}
	c := fileCaps{permitted: uint64(binary.LittleEndian.Uint32(b[4:])) | uint64(binary.LittleEndian.Uint32(b[12:]))<<32}
	switch binary.LittleEndian.Uint32(b) & 0xff000000 {
	case vfsCapRevision2:
	case vfsCapRevision3:
		if len(b) < 24 {
			return fileCaps{}, errors.New("security.capability is cut off")
		}
		c.rootID = binary.LittleEndian.Uint32(b[20:])
	default:
		return fileCaps{}, fmt.Errorf("security.capability of unknown revision %#x", binary.LittleEndian.Uint32(b))
	}
	return c, nil
}

func (t tree) fileCaps(name string) (fileCaps, error) {
	f, err := t.open(name, unix.O_PATH)
	if err != nil {
		return fileCaps{}, err
	}
	defer f.Close()
	return capsOf(f)
}

// capsOf reads them through an O_PATH descriptor, which fgetxattr refuses.
func capsOf(f *os.File) (fileCaps, error) {
	var b [64]byte
	size, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), "security.capability", b[:])
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return fileCaps{}, nil
	case err != nil:
		return fileCaps{}, fmt.Errorf("read capabilities of %s: %w", f.Name(), err)
	}
	return parseFileCaps(b[:size])
}

// statusField returns a field of /proc/PID/status.
func statusField(status, name string) (string, bool) {
	for line := range strings.SplitSeq(status, "\n") {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}
