package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// Container is a container to be looked at, through its first process. What
// lies below its root was written by a tenant, and may be hostile.
type Container struct {
	node *Node
	dir  *os.File // /proc/PID, pinned: it never becomes another process
	proc tree
	root *evidence.Root

	cgroup  string // of the process, below the hierarchy's mount
	escaped bool
	status  string
	mounts  []mount
	uids    idMap
	gids    idMap
	hung    hung
}

// ContainerOptions say which container.
type ContainerOptions struct {
	PID     int    // host pid of its first process
	Cgroup  string // of that process
	Escaped bool   // from the cgroup of the container around it
}

// OpenContainer pins a process. Whoever calls makes sure afterwards that the
// process was the one meant, and by Alive that it was so all the time.
func OpenContainer(n *Node, o ContainerOptions) (_ *Container, err error) {
	dir, err := os.OpenFile(filepath.Join(n.procRoot, strconv.Itoa(o.PID)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", o.PID, err)
	}
	c := &Container{
		node: n, dir: dir, cgroup: o.Cgroup, escaped: o.Escaped,
		proc: tree{"/proc/self/fd/" + strconv.Itoa(int(dir.Fd())), fmt.Sprintf("/proc/%d", o.PID)},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.root, err = evidence.OpenRoot(n.procRoot, o.PID); err != nil {
		return nil, err
	}
	if c.status, err = c.proc.text("status"); err != nil {
		return nil, err
	}
	// A tenant can mount 100,000 times: what does not fit is not looked at.
	info, err := evidence.ReadMountinfo(n.procRoot, o.PID)
	if err != nil {
		return nil, err
	}
	c.mounts = parseMounts(info)
	for _, side := range []struct {
		file string
		to   *idMap
	}{{"uid_map", &c.uids}, {"gid_map", &c.gids}} {
		text, err := c.proc.text(side.file)
		if err != nil {
			return nil, err
		}
		if *side.to, err = parseIDMap(text); err != nil {
			return nil, fmt.Errorf("parse %s: %w", side.file, err)
		}
	}
	return c, nil
}

// Alive fails when the process has ended since it was opened.
func (c *Container) Alive() error {
	if _, err := c.proc.text("status"); err != nil {
		return fmt.Errorf("the container's first process has ended: %w", err)
	}
	return nil
}

// Close lets go of the process.
func (c *Container) Close() error {
	var err error
	if c.root != nil {
		err = c.root.Close()
	}
	return errors.Join(err, c.dir.Close())
}

// Check runs all checks of the container.
func (c *Container) Check(ctx context.Context) []Result {
	return runAll(ctx, c, containerChecks(), checkLimit, &c.hung)
}

// containerChecks lists every check of a container, in the order in which they
// are shown.
func containerChecks() []check[*Container] {
	return slices.Concat(delegationChecks(), idChecks(), privilegeChecks(), insideChecks())
}

// field returns a field of the process's status.
func (c *Container) field(name string) (string, error) {
	if v, found := statusField(c.status, name); found {
		return v, nil
	}
	return "", fmt.Errorf("status has no %s", name)
}

// euid returns the host uid that the process acts with.
func (c *Container) euid() (uint64, error) {
	s, err := c.field("Uid")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(s)
	if len(f) != 4 {
		return 0, fmt.Errorf("status has Uid %q", s)
	}
	return strconv.ParseUint(f[1], 10, 32)
}

// innerUID returns the process's uid as it sees it; false: not mapped.
func (c *Container) innerUID() (uint64, bool) {
	host, err := c.euid()
	if err != nil {
		return 0, false
	}
	return c.uids.toInner(host)
}

// caps returns a capability set of the process.
func (c *Container) caps(set string) (uint64, error) {
	s, err := c.field(set)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(s, 16, 64)
}

// stat looks at a path below the container's root.
func (c *Container) stat(path string) (st unix.Stat_t, err error) {
	f, err := c.root.Look(path)
	if err != nil {
		return st, err
	}
	defer f.Close()
	return st, unix.Fstat(int(f.Fd()), &st)
}

// idMap is a uid_map or gid_map, as the host sees it.
type idMap []extent

type extent struct{ inner, host, count uint64 }

// maxExtents is the kernel's UID_GID_MAP_MAX_EXTENTS.
const maxExtents = 340

func parseIDMap(text string) (m idMap, err error) {
	for line := range strings.Lines(text) {
		var e extent
		if _, err := fmt.Sscan(line, &e.inner, &e.host, &e.count); err != nil {
			return nil, fmt.Errorf("want three numbers, got %q", clip(line, 64))
		}
		if len(m) == maxExtents {
			return nil, fmt.Errorf("more than %d extents", maxExtents)
		}
		m = append(m, e)
	}
	return m, nil
}

// whole reports the initial user namespace's map.
func (m idMap) whole() bool { return len(m) == 1 && m[0].count == 1<<32-1 }

func (m idMap) width() (n uint64) {
	for _, e := range m {
		n += e.count
	}
	return n
}

func (m idMap) toInner(host uint64) (uint64, bool) {
	for _, e := range m {
		if host >= e.host && host-e.host < e.count {
			return e.inner + host - e.host, true
		}
	}
	return 0, false
}

func (m idMap) toHost(inner uint64) (uint64, bool) {
	for _, e := range m {
		if inner >= e.inner && inner-e.inner < e.count {
			return e.host + inner - e.inner, true
		}
	}
	return 0, false
}

// holds reports whether all of a range of inner ids is mapped.
func (m idMap) holds(first, count uint64) bool {
	for count > 0 {
		i := slices.IndexFunc(m, func(e extent) bool { return first >= e.inner && first-e.inner < e.count })
		if i < 0 {
			return false
		}
		n := min(count, m[i].inner+m[i].count-first)
		first, count = first+n, count-n
	}
	return true
}

func (m idMap) String() string {
	var parts []string
	for _, e := range m {
		parts = append(parts, fmt.Sprintf("%d→%d +%d", e.inner, e.host, e.count))
	}
	return named(parts)
}
