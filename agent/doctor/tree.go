package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/hostfs"
)

const (
	maxText = 64 << 10 // bytes of a file with one fact
	maxFile = 4 << 20  // bytes of a file with many: mountinfo, subuid
)

// tree reads files below one directory: links, also absolute ones, end inside it.
type tree struct {
	path  string
	shown string // what people call it, in errors
}

func (t tree) fs() hostfs.Root { return hostfs.Root{Path: t.path, Shown: t.shown} }

func (t tree) call(name string) string { return t.fs().Call(name) }

func (t tree) open(name string, flags uint64) (*os.File, error) { return t.fs().Open(name, flags) }

// read returns a regular file, or an error if it has more than limit bytes.
func (t tree) read(name string, limit int64) ([]byte, error) { return t.fs().Read(name, limit) }

// text returns a short file without the blanks around it.
func (t tree) text(name string) (string, error) {
	b, err := t.read(name, maxText)
	return strings.TrimSpace(string(b)), err
}

// number returns a file with one number.
func (t tree) number(name string) (int64, error) {
	s, err := t.text(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: want a number, got %q", t.call(name), clip(s, 64))
	}
	return n, nil
}

func (t tree) stat(name string) (unix.Stat_t, error) { return t.fs().Stat(name) }

func (t tree) exists(name string) bool {
	_, err := t.stat(name)
	return err == nil
}

// list returns up to limit names of a directory.
func (t tree) list(name string, limit int) ([]string, error) {
	d, err := t.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(limit)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return names, nil
}

// mount is a line of mountinfo; proc_pid_mountinfo(5).
type mount struct {
	device  string // major:minor
	root    string // directory of the file system that is mounted
	point   string
	options string // of the mount
	fstype  string
	super   string // options of the file system
}

// has reports whether a comma-separated list has an option.
func has(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// parseMounts skips lines that it does not understand. Mounts come in order:
// of two on one point the later is on top.
func parseMounts(text string) []mount {
	var all []mount
	for line := range strings.SplitSeq(text, "\n") {
		before, after, found := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !found || len(left) < 6 || len(right) < 2 {
			continue
		}
		m := mount{device: left[2], root: unescape(left[3]), point: unescape(left[4]), options: left[5], fstype: right[0]}
		if len(right) > 2 {
			m.super = right[2]
		}
		all = append(all, m)
	}
	return all
}

// unescape undoes the \ooo of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
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

// mountOf returns the mount that a path lies on.
func mountOf(all []mount, path string) (best mount, found bool) {
	for _, m := range all {
		if below(path, m.point) && len(m.point) >= len(best.point) {
			best, found = m, true
		}
	}
	return best, found
}

// below reports whether path is dir or in it.
func below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
