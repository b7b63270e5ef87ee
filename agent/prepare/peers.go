package prepare

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of what is read of a process.
const (
	maxCgroups = 1 << 20
	maxMounts  = 256 << 20 // fs.mount-max is 100,000 mounts in a namespace
)

// checkCgroup makes sure that a process is in a cgroup, or below it.
func (p process) checkCgroup(cgroup string) error {
	f, err := p.open("cgroup", unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("read the cgroup of the container's process: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCgroups))
	if err != nil {
		return fmt.Errorf("read the cgroup of the container's process: %w", noProcess(err))
	}
	for line := range strings.Lines(string(b)) {
		is, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if ok && cgroup != "" && (is == cgroup || strings.HasPrefix(is, cgroup+"/")) {
			return nil
		}
	}
	return fmt.Errorf("its process is not in cgroup %q any more: ask again with a process that is", cgroup)
}

// ownMounts returns the mounts of a process, by id, that the host neither has
// nor is a peer of: what is mounted in them does not show on the host. A process
// in the host's mount namespace has none.
func (p process) ownMounts(proc string) (map[uint64]bool, error) {
	ids, groups := map[uint64]bool{}, map[string]bool{}
	for _, host := range []string{"self", "1"} {
		f, err := os.Open(filepath.Join(proc, host, "mountinfo"))
		if err != nil {
			return nil, fmt.Errorf("read the host's mounts: %w", err)
		}
		err = eachMount(f, func(id uint64, group string) {
			ids[id] = true
			if group != "" {
				groups[group] = true
			}
		})
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read the host's mounts: %w", err)
		}
	}
	f, err := p.open("mountinfo", unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("read the container's mounts: %w", err)
	}
	defer f.Close()
	own := map[uint64]bool{}
	if err := eachMount(f, func(id uint64, group string) {
		if !ids[id] && !groups[group] {
			own[id] = true
		}
	}); err != nil {
		return nil, fmt.Errorf("read the container's mounts: %w", err)
	}
	return own, nil
}

// eachMount reads mountinfo: a mount's id, and its peer group ("" if it is not
// shared). Groups are the same numbers in all mount namespaces.
func eachMount(r io.Reader, visit func(id uint64, group string)) error {
	lines := bufio.NewScanner(io.LimitReader(r, maxMounts))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// id parent major:minor root point options [optional…] - type source options
		head, _, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(head)
		if !ok || len(fields) < 6 {
			return errors.New("a line of mountinfo is not complete")
		}
		id, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			return fmt.Errorf("a line of mountinfo has no id: %w", err)
		}
		group := ""
		for _, o := range fields[6:] {
			if g, ok := strings.CutPrefix(o, "shared:"); ok {
				group = g
			}
		}
		visit(id, group)
	}
	return lines.Err()
}
