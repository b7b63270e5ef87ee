package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/doctor/trial"
)

// tryLimit is for the whole trial, which starts about six processes.
const tryLimit = 45 * time.Second

// tried is what checks of a trial look at.
type tried struct {
	c       *Container
	request trial.Request
	report  trial.Report
	label   string // LSM profile of the first process
	err     error  // why there is no report
}

// Try tries in the container, as its user, what an engine would do there;
// see package trial for what that means and why it is safe.
func (c *Container) Try(ctx context.Context) []Result {
	limited, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	t := &tried{c: c}
	t.err = t.run(limited)
	// What was found, and whether something is left, is told in any case.
	return runAll(context.WithoutCancel(ctx), t, tryChecks(), checkLimit, &c.hung)
}

func (t *tried) run(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("not tried: it needs root on the node")
	}
	if !t.c.node.here() {
		return errors.New("not tried: doctor runs in a container: run it on the node itself")
	}
	if t.request, err = t.c.asRequest(); err != nil {
		return err
	}
	t.label = t.c.profile()
	// Who can become root of the node is not freed from anything.
	if _, root := t.c.uids.toInner(0); root {
		if t.label != "" {
			return fmt.Errorf("not tried: its map holds the node's root, and the trial would run its programs without its security profile %q", t.label)
		}
		t.request.As.NeedFilters = true
	}
	where, err := t.c.where()
	if err != nil {
		return err
	}
	defer where.close()
	t.request.Inside.Cgroup = where.inside
	if t.report, err = trial.Run(ctx, where.Container, t.request); err != nil {
		return err
	}
	return t.c.Alive()
}

// asRequest is who the first process is, in the container's own terms.
func (c *Container) asRequest() (r trial.Request, err error) {
	as := &r.As
	if r.PID, err = strconv.Atoi(filepath.Base(c.proc.shown)); err != nil {
		return r, err
	}
	theirs, err1 := os.Readlink(c.proc.path + "/ns/user")
	ours, err2 := os.Readlink("/proc/self/ns/user")
	if err := errors.Join(err1, err2); err != nil {
		return r, err
	}
	as.UserNS = theirs != ours
	for _, id := range []struct {
		field string
		ids   idMap
		to    *uint32
	}{{"Uid", c.uids, &as.UID}, {"Gid", c.gids, &as.GID}} {
		if *id.to, err = c.inner(id.field, id.ids); err != nil {
			return r, err
		}
	}
	groups, err := c.field("Groups")
	if err != nil {
		return r, err
	}
	for f := range strings.FieldsSeq(groups) {
		// A group that is not mapped, the trial cannot have.
		if host, err := strconv.ParseUint(f, 10, 32); err == nil {
			if inner, mapped := c.gids.toInner(host); mapped {
				as.Groups = append(as.Groups, uint32(inner))
			}
		}
	}
	if s, err := c.proc.text("setgroups"); err == nil {
		as.NoGroups = s == "deny"
	}
	for field, to := range map[string]*uint64{"CapBnd": &as.Bounding, "CapInh": &as.Inheritable, "CapAmb": &as.Ambient} {
		if *to, err = c.caps(field); err != nil {
			return r, err
		}
	}
	nnp, err1 := c.field("NoNewPrivs")
	seccomp, err2 := c.field("Seccomp")
	as.NoNewPrivs, as.Filtered = nnp != "0", seccomp == "2"
	r.Inside.UIDs = c.lines("/etc/subuid", as.UID, as.UID)
	r.Inside.GIDs = c.lines("/etc/subgid", as.UID, as.GID)
	return r, errors.Join(err1, err2)
}

// inner returns the effective id of a field of status as the container has it.
func (c *Container) inner(field string, ids idMap) (uint32, error) {
	s, err := c.field(field)
	if err != nil {
		return 0, err
	}
	f := strings.Fields(s)
	if len(f) != 4 {
		return 0, fmt.Errorf("status has %s %q", field, s)
	}
	host, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return 0, err
	}
	id, mapped := ids.toInner(host)
	if !mapped {
		return 0, fmt.Errorf("not tried: its map lacks host %s %d of its first process", strings.ToLower(field), host)
	}
	return uint32(id), nil
}

const maxLines = 16 // of a map; engines write two

// lines is the map that an engine of this user writes: itself as root, and
// its ranges. Root without ranges needs no tool.
func (c *Container) lines(path string, uid, id uint32) [][3]uint64 {
	lines := [][3]uint64{{0, uint64(id), 1}}
	b, _ := c.root.ReadFile(path, maxText) // what is wrong with it another check says
	ranges, _ := parseSubIDs(string(b))
	user, known := c.user()
	next := uint64(1)
	for _, r := range ranges {
		mine := r.owner == strconv.FormatUint(uint64(uid), 10) || known && r.owner == user.name
		if mine && len(lines) < maxLines {
			lines = append(lines, [3]uint64{next, r.first, r.count})
			next += r.count
		}
	}
	if uid == 0 && len(lines) == 1 {
		return nil
	}
	return lines
}

// profile is the LSM label of the first process; empty if nothing confines it.
func (c *Container) profile() string {
	s, err := c.proc.text("attr/current")
	s = strings.TrimRight(s, "\x00")
	if err != nil || s == "unconfined" || strings.Contains(s, ":unconfined_t:") {
		return "" // EINVAL: no such module
	}
	return s
}

// place is where to try, opened.
type place struct {
	trial.Container
	inside string // the container's cgroup as it sees it
}

func (p place) close() {
	for _, f := range []*os.File{p.Root, p.Leaf, p.Top} {
		if f != nil {
			f.Close()
		}
	}
}

func (c *Container) where() (p place, err error) {
	p.Proc = c.dir
	if p.Root, err = os.OpenFile(c.proc.path+"/root", unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return p, fmt.Errorf("open its root: %w", err)
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	m, err := c.node.cgroup()
	if err != nil {
		return p, err
	}
	path := filepath.Clean("/" + c.cgroup)
	if path == "/" {
		return p, nil
	}
	if p.Leaf, err = c.node.openCgroup(filepath.Join(m.point, path)); err != nil {
		return p, err
	}
	inside, ok := c.cgroup2Mount()
	switch {
	case !ok:
		return p, nil
	case inside.root == "/": // the whole hierarchy
		p.inside = filepath.Join(inside.point, path)
	case below(path, inside.root):
		p.inside = inside.point
	default:
		return p, nil
	}
	top, err := c.cgroupDir()
	if err != nil {
		return p, err
	}
	p.Top, err = c.node.openCgroup(top)
	return p, err
}

// openCgroup opens a directory that must be one of cgroup2.
func (n *Node) openCgroup(path string) (*os.File, error) {
	f, err := n.root.open(path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, errors.Join(fmt.Errorf("%s is no cgroup", path), err, f.Close())
	}
	return f, nil
}
