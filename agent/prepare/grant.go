package prepare

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// grant finds the ids for a container: those it has on record, or new ones. had
// reports that there is a record.
func (p *Preparer) grant(t Target, pr Profile) (r Result, had bool, err error) {
	if !ledger.ValidID(t.ID) {
		return r, false, fmt.Errorf("lease id %.80q: want 1 to 64 of a-z, 0-9 and -", t.ID)
	}
	uid, gid, err := delegate(t, pr)
	if err != nil {
		return r, false, err
	}
	if r.Lease, had = p.onRecord(t); had {
		if err := p.again(r.Lease, t, pr); err != nil {
			return r, true, err
		}
		if r.Lease.UID != uid || r.Lease.GID != gid {
			return r, true, fmt.Errorf("lease %s has it prepared already, for host uid %d and gid %d, not %d and %d: ask for that user, or release it",
				r.Lease.ID, r.Lease.UID, r.Lease.GID, uid, gid)
		}
	} else {
		r.Lease = ledger.Lease{
			ID: t.ID, Profile: pr.Name, Owner: t.Owner, Cgroup: t.Cgroup, CgroupID: t.CgroupID, Boot: p.o.Boot, UID: uid, GID: gid,
		}
	}
	ids := pr.IDs
	if ids == IDsAuto {
		ids = IDsHost
		if t.OwnIDs {
			ids = IDsInPod
		}
	}
	// What has a range on record, or none, keeps that: it cannot change.
	if had && (ids == IDsHost) == r.Lease.Range.Empty() {
		return r, true, fmt.Errorf("lease %s has it prepared already, with other ids than %s: ask with a process in its user namespace, or release it", r.Lease.ID, ids)
	}
	switch ids {
	case IDsNone:
	case IDsInPod:
		err = p.inPod(&r, t)
	case IDsHost:
		err = p.fromHost(&r, t, pr)
	default:
		err = fmt.Errorf("profile %s: ids: want auto, in-pod, host or none, got %.40q", pr.Name, ids)
	}
	return r, had, err
}

// onRecord finds the lease of a container: by its id or, since any process of
// it may be asked for, by its cgroup.
func (p *Preparer) onRecord(t Target) (ledger.Lease, bool) {
	if l, ok := p.ledger.Get(t.ID); ok || t.CgroupID == 0 {
		return l, ok
	}
	for _, l := range p.ledger.List() {
		if l.Live() && l.Boot == p.o.Boot && l.CgroupID == t.CgroupID {
			return l, true
		}
	}
	return ledger.Lease{}, false
}

// again says why a container with a lease cannot be prepared by it.
func (p *Preparer) again(old ledger.Lease, t Target, pr Profile) error {
	switch {
	case !old.Live() || old.State == ledger.Releasing:
		return fmt.Errorf("its lease %s is %s: a container is not prepared twice", old.ID, old.State)
	case old.Boot != p.o.Boot:
		return fmt.Errorf("its lease %s is of an earlier boot: release it", old.ID)
	case old.CgroupID != t.CgroupID || old.Profile != pr.Name:
		return fmt.Errorf("lease %s has it prepared already, for cgroup %q with profile %s: release it", old.ID, old.Cgroup, old.Profile)
	}
	return nil
}

// inPod takes the ids of nested containers from the container's own map.
func (p *Preparer) inPod(r *Result, t Target) error {
	if !t.OwnIDs {
		return errors.New("it has no user namespace of its own: use ids host")
	}
	old := r.Lease.InPod
	if err := r.nest(t); err != nil {
		return err
	}
	if old != nil && !slices.Equal(old, r.Lease.InPod) {
		return fmt.Errorf("lease %s has it prepared already, with the ids %s: ask with a process in its user namespace, or release it", r.Lease.ID, strings.Join(old, " "))
	}
	return nil
}

// nest sets the ids that a container's own map has beside its user's.
func (r *Result) nest(t Target) error {
	u, err := t.user()
	if err != nil {
		return err
	}
	n, err := subid.NestedRanges(t.UIDs, t.GIDs, subid.Caller(u))
	if err != nil {
		return err
	}
	r.write(n, u.UID)
	r.Lease.InPod = strings.Split(strings.TrimSpace(r.Subuid), "\n")
	return nil
}

// write sets the text of the two files.
func (r *Result) write(n subid.Nested, uid identity.UID) {
	login := subid.ByUID(uid)
	r.Subuid, r.Subgid = n.Subuid(login), n.Subgid(login)
}

// lend sets the ids of the leased range.
func (r *Result) lend(t Target) {
	g := []subid.Range{subid.Range(r.Lease.Range)}
	r.write(subid.Nested{UIDs: g, GIDs: g}, identityUID(t.UID))
}

// fromHost leases a range of host ids.
func (p *Preparer) fromHost(r *Result, t Target, pr Profile) error {
	if t.OwnIDs {
		return errors.New("it has a user namespace of its own, in which host ids mean nothing: use ids in-pod")
	}
	s, err := p.o.Host.Snapshot()
	if err != nil {
		return fmt.Errorf("read who holds ids: %w", err)
	}
	for _, w := range s.Warnings {
		if w.Kind == "subid-exclusive" {
			return fmt.Errorf("%s: %s", w.Text, w.Fix)
		}
		r.Notes = append(r.Notes, w.Text)
	}
	claims := s.Claims
	if !r.Lease.Range.Empty() {
		claims = nil // it has it already
	}
	g, err := p.pool.Lease(r.Lease.ID, pr.Size, p.o.Now(), subid.NewTaken(claims))
	if err != nil {
		return err
	}
	if g.Early {
		r.Notes = append(r.Notes, fmt.Sprintf("the pool is nearly dry: %s was freed only %s ago", g.Range, g.Rested))
	}
	r.Lease.Range = ledger.Range(g.Range)
	r.lend(t)
	return nil
}
