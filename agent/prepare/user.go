package prepare

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
)

// meet puts on record what shows only when a container is created: its cgroup
// and, of its first process, its user. runc and crun give that process its ids
// before it waits to be started.
func (p *Preparer) meet(l ledger.Lease, at Place, pr Profile) (Result, error) {
	r := Result{Lease: l}
	t, unseen := p.firstProcess(l, at)
	switch {
	case unseen == nil:
		if err := r.settle(t, pr); err != nil {
			return r, err
		}
	case l.Unsettled:
		return r, fmt.Errorf("the runtime did not tell the container's user, and its first process cannot be asked: %w", unseen)
	case at.Cgroup == "" && reserved(l):
		return r, unseen
	}
	if reserved(l) { // also without delegation: the cgroup tells when it ends
		r.Lease.Cgroup, r.Lease.CgroupID = t.Cgroup, t.CgroupID
		if unseen != nil {
			var err error
			if r.Lease.Cgroup, r.Lease.CgroupID, err = p.lookUp(at.Cgroup); err != nil {
				return r, err
			}
		}
	}
	err := p.remember(&r, l)
	return r, err
}

// remember brings what meet found to the ledger, and then to the files. Until
// the files are right too the lease stays unsettled: whoever comes after a crash
// must see the process again.
func (p *Preparer) remember(r *Result, old ledger.Lease) (err error) {
	var stale bool
	if r.Subuid != "" && slices.Contains(old.Steps, stepFiles) {
		if stale, err = p.stale(*r); err != nil {
			return err
		}
	}
	if r.Lease.Unsettled = stale; !r.Lease.Equal(old) {
		n := r.Lease
		if r.Lease, err = p.ledger.Update(n.ID, func(l *ledger.Lease) {
			l.Cgroup, l.CgroupID, l.UID, l.GID, l.InPod, l.Unsettled = n.Cgroup, n.CgroupID, n.UID, n.GID, n.InPod, n.Unsettled
		}); err != nil {
			return err
		}
		p.o.fault("met")
	}
	if stale {
		return p.rewriteFiles(*r)
	}
	return nil
}

// firstProcess describes the container by the process that its runtime names.
func (p *Preparer) firstProcess(l ledger.Lease, at Place) (Target, error) {
	if at.PID == 0 {
		return Target{}, errors.New("the runtime does not tell its pid")
	}
	t, err := describe(p.o.Host.Proc, p.o.Mount, at.PID)
	if err == nil && !reserved(l) && t.CgroupID != l.CgroupID && !strings.HasPrefix(t.Cgroup, l.Cgroup+"/") {
		err = fmt.Errorf("pid %d is not in its cgroup, but in %q: it is another's by now", at.PID, t.Cgroup)
	}
	return t, err
}

// lookUp finds the id of a cgroup.
func (p *Preparer) lookUp(cgroup string) (string, uint64, error) {
	if cgroup == "" || cgroup[0] != '/' || filepath.Clean(cgroup) != cgroup || cgroup == "/" {
		return "", 0, fmt.Errorf("cgroup %.200q is no path of a container's cgroup", cgroup)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(p.o.Mount, cgroup), &st); err != nil {
		return "", 0, fmt.Errorf("look at its cgroup %.200q: %w", cgroup, err)
	}
	return cgroup, st.Ino, nil
}

// user is the user of a container's process, as the container has it.
func (t Target) user() (User, error) {
	uid, ok1 := t.UIDs.FromHost(t.UID)
	gid, ok2 := t.GIDs.FromHost(t.GID)
	if !ok1 || !ok2 {
		return User{}, fmt.Errorf("its process has host uid %d and gid %d, which its own map lacks", t.UID, t.GID)
	}
	return User{uid, gid}, nil
}

// leftRoot reports whether a process is a user for good.
func (t Target) leftRoot() bool {
	u, err := t.user()
	return err == nil && u.UID != 0 && t.realUID == t.UID && t.realGID == t.GID
}

// settle makes a reservation that of the user whom the container's process has.
//
// What the runtime told is a plan; the process is what runs. If they differ, the
// process is right when it has left root, because then it cannot become the user
// that was told any more, and a cgroup of that user would be of no use. A process
// that still is root (or in between, or outside of its map) may yet become that
// user: then what was told stays.
func (r *Result) settle(t Target, pr Profile) error {
	told := !r.Lease.Unsettled
	if told && !t.leftRoot() {
		return nil
	}
	if _, err := t.user(); err != nil {
		return err
	}
	if t.realUID != t.UID || t.realGID != t.GID {
		return fmt.Errorf("its process has host uid %d and gid %d, but acts as %d and %d: it is no user yet", t.realUID, t.realGID, t.UID, t.GID)
	}
	uid, gid, err := delegate(t, pr)
	if err != nil {
		return err
	}
	if told && (r.Lease.UID != uid || r.Lease.GID != gid) {
		r.Notes = append(r.Notes, fmt.Sprintf("its process has host uid %d and gid %d, not %d and %d as the runtime told: ids and cgroup are the process's",
			uid, gid, r.Lease.UID, r.Lease.GID))
	}
	r.Lease.UID, r.Lease.GID = uid, gid
	switch inPod := r.Lease.InPod != nil; {
	case inPod != t.OwnIDs && (inPod || !r.Lease.Range.Empty()):
		return errors.New("its process is not in the user namespace of its sandbox, for which ids were reserved")
	case inPod:
		return r.nest(t)
	case !r.Lease.Range.Empty():
		r.lend(t)
	}
	return nil
}
