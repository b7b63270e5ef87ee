package evidence

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxMountinfo bounds what is read of a mountinfo: the root and what the
// runtime mounted stand first in it, and a tenant can mount 100,000 times
// (fs.mount-max).
const maxMountinfo = 1 << 20

// ReadMountinfo reads up to 1 MiB of /proc/PID/mountinfo, for GraphRoots and
// MountClaim; a longer one ends with a whole line.
func ReadMountinfo(procfs string, pid int) (string, error) {
	if pid <= 0 {
		return "", fmt.Errorf("read mounts of process %d: not a pid", pid)
	}
	f, err := os.Open(filepath.Join(procfs, strconv.Itoa(pid), "mountinfo"))
	if err != nil {
		return "", fmt.Errorf("read mounts of process %d: %w", pid, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMountinfo))
	if err != nil {
		return "", fmt.Errorf("read mounts of process %d: %w", pid, err)
	}
	if len(b) == maxMountinfo {
		b = b[:strings.LastIndexByte(string(b), '\n')+1]
	}
	return string(b), nil
}

// GraphRoots finds the graph roots of containers/storage in a container's
// mountinfo: an overlay's upperdir and workdir are <root>/overlay/<layer>/diff
// and /work, its lower layers <root>/overlay/l/<link>. The paths are those of
// whoever mounted, the sandbox outside the container: hints for Podman of that
// sandbox's Root, at most 16, in order of appearance.
func GraphRoots(mountinfo io.Reader) []string {
	var roots []string
	eachMount(mountinfo, func(m mount) bool {
		if m.fstype != "overlay" {
			return true
		}
		for opt := range strings.SplitSeq(m.options, ",") {
			key, value, _ := strings.Cut(opt, "=")
			switch key {
			case "upperdir", "workdir", "lowerdir", "lowerdir+":
			default:
				continue
			}
			value = unescapeMount(value)
			// Colons part lower layers; one in a name has a backslash before it
			// and is not looked for: such a path only gives no hint.
			for dir := range strings.SplitSeq(value, ":") {
				root, ok := graphRoot(dir)
				if ok && !slices.Contains(roots, root) {
					roots = append(roots, root)
				}
				if len(roots) == maxHints {
					return false
				}
			}
		}
		return true
	})
	return roots
}

func graphRoot(dir string) (string, bool) {
	i := strings.LastIndex(dir, "/overlay/")
	if i <= 0 || !plainPath(dir) {
		return "", false
	}
	layer, rest, _ := strings.Cut(dir[i+len("/overlay/"):], "/")
	return dir[:i], rest != "" && (isHex64(layer) || layer == "l")
}

// MountClaim finds the container's engine, and for podman its id, in its
// mountinfo: the engines bind-mount files that they keep under a container's id,
// and the kernel shows where they come from. It tells the id where the container
// has no cgroup of its own. A tenant with CAP_SYS_ADMIN inside can mount otherwise.
//
// Only /run/.containerenv is always the container's own: /etc/hosts and its like
// are those of the container whose network it shares, so docker, which mounts
// nothing else by id, gets no id here.
func MountClaim(mountinfo io.Reader) (Claim, bool) {
	var c Claim
	eachMount(mountinfo, func(m mount) bool {
		parts := strings.Split(unescapeMount(m.root), "/")
		n := len(parts)
		switch m.point {
		case "/run/.containerenv":
			if n >= 4 && parts[n-2] == "userdata" && isHex64(parts[n-3]) && strings.HasSuffix(parts[n-4], "-containers") {
				c = Claim{Runtime: RuntimePodman, ID: parts[n-3], Source: SourceMounts}
				return false
			}
		case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf":
			if n >= 3 && parts[n-3] == "containers" && isHex64(parts[n-2]) {
				c = Claim{Runtime: RuntimeDocker, Source: SourceMounts}
			}
		}
		return true
	})
	return c, c.Runtime != ""
}

// RootLayers returns how many lower layers the overlay has that is mounted on
// the root; false when there is none. Of several mounts the last is seen.
func RootLayers(mountinfo io.Reader) (n int, overlay bool) {
	eachMount(mountinfo, func(m mount) bool {
		if m.point == "/" {
			n, overlay = lowerLayers(m.options), m.fstype == "overlay"
		}
		return true
	})
	return n, overlay
}

// PlainRoot says what is mounted on the root (device and directory, only to compare), and
// whether that is a directory of a file system, and not the whole of one: what engines
// bind there that have no layers (vfs storage, bundles).
func PlainRoot(mountinfo io.Reader) (root string, plain bool) {
	eachMount(mountinfo, func(m mount) bool {
		if m.point == "/" {
			root, plain = m.device+" "+m.root, m.root != "/"
		}
		return true
	})
	return root, plain
}

// lowerLayers counts the directories of lowerdir=a:b::c and of lowerdir+=a, as
// newer kernels show them; a colon in a name has a backslash before it.
func lowerLayers(options string) (n int) {
	for opt := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(opt, "=")
		switch key {
		case "lowerdir+", "datadir+":
			n++
		case "lowerdir":
			value = strings.NewReplacer(`\\`, "_", `\:`, "_").Replace(unescapeMount(value))
			for dir := range strings.SplitSeq(value, ":") {
				if dir != "" {
					n++
				}
			}
		}
	}
	return n
}

// mount is what is used of a line of mountinfo, still escaped; proc_pid_mountinfo(5).
type mount struct{ id, device, root, point, fstype, options string }

// eachMount calls f for each line until it returns false. A line longer than
// 64 KiB ends it.
func eachMount(in io.Reader, f func(mount) bool) {
	s := bufio.NewScanner(io.LimitReader(in, maxMountinfo))
	for s.Scan() {
		before, after, ok := strings.Cut(s.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		if !f(mount{id: left[0], device: left[2], root: left[3], point: left[4], fstype: right[0], options: right[2]}) {
			return
		}
	}
}

// unescapeMount undoes the \ooo escapes of mountinfo.
func unescapeMount(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
