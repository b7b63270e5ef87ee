package cgroups

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// directory is a cgroup's, open: what is read of it is of that cgroup, whoever
// has its path by then.
type directory int

func openDirectory(path string) (directory, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return directory(fd), err
}

func (d directory) close() { _ = unix.Close(int(d)) } // nothing was written

// maxFile bounds what is read of a file.
const maxFile = 4096

// read returns a file's content. Plain system calls: os.File would try to poll
// each. The kernel hands over a file of this size at once.
func (d directory) read(name string) (string, error) {
	fd, err := unix.Openat(int(d), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var buf [maxFile]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// text is the file's content; "" when it cannot be read.
func (d directory) text(name string) string {
	s, err := d.read(name)
	if err != nil {
		return ""
	}
	return s
}

// controllers of the cgroup. A removed one has no files.
func (d directory) controllers() ([]string, error) {
	s, err := d.read("cgroup.controllers")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return strings.Fields(s), nil
}

// parseValue parses a number, or max.
func parseValue(s string) (uint64, bool) {
	s = strings.TrimSuffix(s, "\n")
	if s == "max" {
		return NoLimit, true
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// parseEvents parses memory.events; nil when it has no oom. What a kernel does
// not count is 0.
func parseEvents(s string) *MemoryEvents {
	var e MemoryEvents
	found := false
	for line := range strings.Lines(s) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "max":
			e.Max = n
		case "oom":
			e.OOM, found = n, true
		case "oom_kill":
			e.OOMKill = n
		case "oom_group_kill":
			e.GroupKill = n
		}
	}
	if !found {
		return nil
	}
	return &e
}

// parsePressure parses a file such as memory.pressure.
func parsePressure(s string) (p Pressure, ok bool) {
	for line := range strings.Lines(s) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		averages, total, found := strings.Cut(rest, "total=")
		n, err := strconv.ParseUint(total, 10, 64)
		if !found || err != nil {
			continue
		}
		d := microseconds(n)
		switch kind {
		case "some":
			p.Some, ok = d, true
			p.Recent = recent(averages)
		case "full":
			p.Full = d
		}
	}
	return p, ok
}

// recent is the first average of a line, in percent; 0 without one.
func recent(averages string) float64 {
	_, rest, _ := strings.Cut(averages, "avg10=")
	value, _, _ := strings.Cut(rest, " ")
	if v, err := strconv.ParseFloat(value, 64); err == nil && v >= 0 && v <= 100 {
		return v
	}
	return 0
}
