package sources

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoMounts: the task has left its mount namespace: it is a zombie.
var errNoMounts = errors.New("no mount namespace")

// readIdmapped returns the id of the first idmapped mount of a mountinfo file, 0
// if there is none. It reads line by line: a tenant can have 100,000 mounts.
func readIdmapped(path string) (uint64, error) {
	f, err := os.Open(path)
	if errors.Is(err, unix.EINVAL) {
		return 0, errNoMounts // proc_mounts.c, mounts_open_common()
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	id, err := parseMountinfo(f)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", path, err)
	}
	return id, nil
}

// parseMountinfo looks for the option idmapped among those of the mount: the
// fields are id, parent, device, root, mount point, options (proc(5)). Blanks
// in paths are escaped, so the sixth field is the options whatever a tenant
// calls its directories. Options of the file system come later and do not count.
func parseMountinfo(r io.Reader) (uint64, error) {
	limited := &io.LimitedReader{R: r, N: maxMounts}
	s := bufio.NewScanner(limited)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		f := strings.SplitN(s.Text(), " ", 7)
		if len(f) < 7 {
			return 0, fmt.Errorf("line %d: fewer than seven fields", n)
		}
		id, err := strconv.ParseUint(f[0], 10, 64)
		if err != nil || id == 0 {
			return 0, fmt.Errorf("line %d: %s is no mount id", n, quote(f[0]))
		}
		if slices.Contains(strings.Split(f[5], ","), "idmapped") {
			return id, nil
		}
	}
	if err := s.Err(); err != nil {
		return 0, err
	}
	if limited.N == 0 {
		return 0, fmt.Errorf("more than %d bytes", maxMounts)
	}
	return 0, nil
}
