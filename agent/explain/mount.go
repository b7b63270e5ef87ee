package explain

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// mapOf asks for the id map of the mount that a file is on.
func mapOf(f *os.File, process string) (sources.MountMap, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID_UNIQUE, &st); err != nil {
		return sources.MountMap{}, err
	}
	if st.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		return sources.MountMap{}, sources.ErrNoMountMaps
	}
	ns, err := os.Open(filepath.Join(process, "ns", "mnt"))
	if err != nil {
		return sources.MountMap{}, err
	}
	defer ns.Close()
	return sources.MountMapOf(ns, st.Mnt_id)
}

// throughMount undoes what an idmapped mount did to ids. It shows what its map
// lacks as the overflow id, which says nothing unless the map leads there too.
func throughMount(m Mount, shown IDs, over uint32, known bool) (disk, host IDs) {
	side := func(id *uint32, extents []identity.Extent) (onDisk, onHost *uint32) {
		d, ok := identity.UIDMap(extents).FromHost(identity.HostUID(*id))
		switch {
		case ok:
			v := uint32(d)
			return &v, id
		case known || *id == over:
			return nil, nil
		}
		return nil, id
	}
	disk.UID, host.UID = side(shown.UID, m.UIDMap)
	disk.GID, host.GID = side(shown.GID, m.GIDMap)
	return disk, host
}

// withoutMap looks at a file through a detached clone of its mount that is not
// idmapped (open_tree_attr, Linux 6.15). Nothing is attached; of a mount of
// another namespace than ours the kernel makes no clone.
func withoutMap(f *os.File) (IDs, bool) {
	attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_IDMAP}
	clone, err := openTreeAttr(f, &attr)
	if err != nil {
		return IDs{}, false
	}
	defer unix.Close(clone)
	var st unix.Stat_t
	if err := unix.Fstat(clone, &st); err != nil {
		return IDs{}, false
	}
	return IDs{&st.Uid, &st.Gid}, true
}

// Overflow returns what the kernel shows for an id that is not mapped.
func Overflow(proc string) uint32 {
	b, err := os.ReadFile(filepath.Join(proc, "sys/kernel/overflowuid"))
	if err != nil {
		return overflowID
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		return overflowID
	}
	return uint32(n)
}

// readMount finds a mount in a mountinfo file, line by line: a tenant can have
// 100,000 mounts.
func readMount(path string, id uint64) (Mount, error) {
	f, err := os.Open(path)
	if err != nil {
		return Mount{}, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	m, err := findMount(io.LimitReader(f, maxMountinfo), id)
	if err != nil {
		return Mount{}, fmt.Errorf("read mounts: %w", err)
	}
	return m, nil
}

var errNoMount = errors.New("the file is on a mount of another mount namespace, or one that was unmounted: ask with --in CHAIN")

// unescape undoes what the kernel escapes in paths (seq_file's mangle).
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#")

// findMount reads proc_pid_mountinfo(5). Blanks in paths are escaped, so fields
// are where they are whatever a tenant calls its directories.
func findMount(r io.Reader, id uint64) (Mount, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	want := strconv.FormatUint(id, 10) + " "
	for s.Scan() {
		if !strings.HasPrefix(s.Text(), want) {
			continue
		}
		before, after, _ := strings.Cut(s.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 6 || len(right) < 2 {
			return Mount{}, fmt.Errorf("mount %d: too few fields", id)
		}
		return Mount{
			Point: unescape.Replace(left[4]), FSType: right[0], Device: left[2], Idmapped: slices.Contains(strings.Split(left[5], ","), "idmapped"),
		}, nil
	}
	if err := s.Err(); err != nil {
		return Mount{}, err
	}
	return Mount{}, errNoMount
}
