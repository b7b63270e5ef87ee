package evidence

import (
	"io"
	"strconv"
	"strings"
)

// Mount is a line of mountinfo. Paths are as whoever mounted gave them, and
// hostile.
type Mount struct {
	ID     uint64
	Device string // major:minor; an overlay's own for as long as it lives
	Root   string // the directory of the file system that is mounted
	Point  string // below the root of the process whose mountinfo it is
	FSType string

	// Of overlays:
	Upper     string   // "" for none
	Lowers    []string // the uppermost first, without layers that hold data alone
	UserXattr bool     // marks are user.overlay.*, not trusted.overlay.*
}

// Mounts reads a mountinfo. Of several mounts on a point the last is seen.
func Mounts(mountinfo io.Reader) []Mount {
	var all []Mount
	eachMount(mountinfo, func(m mount) bool {
		id, err := strconv.ParseUint(m.id, 10, 64)
		if err != nil {
			return true
		}
		x := Mount{ID: id, Device: m.device, Root: unescapeMount(m.root), Point: unescapeMount(m.point), FSType: m.fstype}
		if m.fstype == "overlay" {
			x.readOptions(m.options)
		}
		all = append(all, x)
		return true
	})
	return all
}

// readOptions reads those of an overlay. The kernel escapes blanks, commas and
// backslashes of values (seq_show_option); overlayfs itself takes a backslash
// before a colon.
func (m *Mount) readOptions(options string) {
	for opt := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(opt, "=")
		value = unescapeMount(value)
		switch key {
		case "upperdir":
			m.Upper = value
		case "lowerdir":
			m.Lowers = append(m.Lowers, splitLayers(value)...)
		case "lowerdir+":
			m.Lowers = append(m.Lowers, value)
		case "userxattr":
			m.UserXattr = true
		}
	}
}

// splitLayers splits a:b::c; layers behind two colons hold data alone.
func splitLayers(value string) (dirs []string) {
	var dir strings.Builder
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && i+1 < len(value):
			i++
			dir.WriteByte(value[i])
		case value[i] == ':' && strings.HasPrefix(value[i:], "::"):
			return append(dirs, dir.String())
		case value[i] == ':':
			dirs = append(dirs, dir.String())
			dir.Reset()
		default:
			dir.WriteByte(value[i])
		}
	}
	return append(dirs, dir.String())
}
