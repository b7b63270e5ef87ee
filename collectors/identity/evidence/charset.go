package evidence

import (
	"strconv"
	"strings"
)

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isHexDigit(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isHex64 is the form of the ids that docker, podman, CRI-O, nerdctl and
// containerd's CRI plugin make.
func isHex64(s string) bool { return len(s) == 64 && all(s, isHexDigit) }

// isBuildkitID is the form of BuildKit's identity.NewID, 25 digits of base 36,
// which no other id here has.
func isBuildkitID(s string) bool {
	return len(s) == 25 && all(s, func(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' })
}

// isBuildahID is buildah's name for a RUN step: "buildah-" and its temporary
// directory, which os.MkdirTemp named "buildah" and a number.
func isBuildahID(s string) bool {
	n, ok := strings.CutPrefix(s, "buildah-buildah")
	return ok && n != "" && len(n) <= 20 && all(n, func(c byte) bool { return '0' <= c && c <= '9' })
}

// isName is the form of ids that people choose: runc's [\w+.-]+ and the names of
// LXC, nspawn and containerd, bounded.
func isName(s string) bool {
	return s != "" && len(s) <= 128 && isAlnum(s[0]) &&
		all(s, func(c byte) bool { return isAlnum(c) || strings.IndexByte("_+.-", c) >= 0 })
}

// isFreeID is a name that nothing else in a cgroup tree is known to have.
func isFreeID(s string) bool {
	if !isName(s) || isNamespace(s) {
		return false
	}
	for _, unit := range [...]string{
		".slice", ".scope", ".service", ".mount", ".automount", ".socket", ".swap", ".target", ".timer", ".device", ".path",
	} {
		if strings.HasSuffix(s, unit) {
			return false
		}
	}
	switch s {
	case "kubepods", "kubelet", "burstable", "besteffort", "podruntime", "docker", "buildkit", "containerd",
		"libpod_parent", "lxc", "lxc.payload", "lxc.monitor", "lxc.pivot", "actions_job", "system", "user", "machine":
		return false
	}
	return !strings.HasPrefix(s, "lxc.monitor.")
}

// isLeaf is a cgroup that exists because processes may only live in leaves.
func isLeaf(s string) bool {
	switch s {
	case "init", "init.scope", "supervisor", "payload", "container", "runtime", "conmon", "leaf", "ns":
		return true
	}
	return false
}

// isNamespace is a containerd namespace in common use: ctr's default, the CRI
// plugin's, dockerd's.
func isNamespace(s string) bool { return s == "default" || s == "k8s.io" || s == "moby" }

func cutEither(s, a, b string) (string, bool) {
	if r, ok := strings.CutPrefix(s, a); ok {
		return r, true
	}
	return strings.CutPrefix(s, b)
}

// unescapeUnit undoes systemd's \xNN escapes of a unit name (systemd.unit(5)).
func unescapeUnit(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if v, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
