package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxText = 64 << 10 // bytes of a file with one fact
	maxFile = 4 << 20  // bytes of a file with many: mountinfo, subuid
)

// tree reads files below one directory. Links, also absolute ones, end inside
// it (RESOLVE_IN_ROOT): another mount namespace's root is read as that
// namespace sees it.
type tree struct {
	path  string
	shown string // what people call it, in errors
}

func (t tree) call(name string) string { return t.shown + "/" + strings.TrimPrefix(name, "/") }

func (t tree) open(name string, flags uint64) (*os.File, error) {
	base, err := unix.Open(t.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: t.path, Err: err}
	}
	defer unix.Close(base)
	for try := 0; ; try++ {
		fd, err := unix.Openat2(base, strings.TrimPrefix(name, "/"), &unix.OpenHow{
			Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), t.call(name)), nil
		case (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) && try < 16: // a rename raced with a ".."
		default:
			return nil, &fs.PathError{Op: "open", Path: t.call(name), Err: err}
		}
	}
}

// read returns a regular file, or an error if it has more than limit bytes.
func (t tree) read(name string, limit int64) ([]byte, error) {
	// Looked at before it is opened: opening a device can act, a FIFO waits.
	st, err := t.stat(name)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("read %s: not a regular file", t.call(name))
	}
	f, err := t.open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes", t.call(name), limit)
	}
	return b, nil
}

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

func (t tree) stat(name string) (st unix.Stat_t, err error) {
	f, err := t.open(name, unix.O_PATH)
	if err != nil {
		return st, err
	}
	defer f.Close()
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return st, &fs.PathError{Op: "stat", Path: t.call(name), Err: err}
	}
	return st, nil
}

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
