package prepare

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// A container runtime that tells in time lets a container be prepared in two
// stages: Reserve before it exists, HandOver when it is created and its first
// process waits. Drop gives back what the runtime says is gone.

// Reservation says for whom ids are reserved.
type Reservation struct {
	ID    string // of the lease
	Owner ledger.Owner
	// Sandbox is a process in the user namespace that the container will have;
	// 0: it will have the host's.
	Sandbox identity.HostPID
	// User is the container's, as the container has it. nil: not known; until
	// HandOver sees the first process the ids are its root's.
	User    *User
	Profile Profile
}

// User is a user inside a container.
type User struct {
	UID identity.UID
	GID identity.GID
}

// Reserve leases ids for a container that does not exist yet, and writes its
// files to FilesDir, for the runtime to mount. The lease is an intent without a
// cgroup, and lasts until HandOver, Drop, or a forced Release. After ctx ended
// nothing is leased any more.
func (p *Preparer) Reserve(ctx context.Context, v Reservation) (Result, error) {
	r, err := p.reserve(ctx, v)
	if err != nil {
		return Result{}, fmt.Errorf("reserve for %s: %w", v.ID, err)
	}
	if v.Profile.Delegate {
		p.primer.begin(v.ID)
	}
	return r, nil
}

func (p *Preparer) reserve(ctx context.Context, v Reservation) (Result, error) {
	t, note, err := p.expected(v)
	if err != nil {
		return Result{}, err
	}
	pr := v.Profile
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	r, had, err := p.grant(t, pr)
	if err == nil {
		err = ctx.Err()
	}
	files := pr.Files && r.Subuid != ""
	if err == nil && !had {
		r.Lease.Unsettled = v.User == nil
		if files { // one write for both: a start waits for each
			r.Lease.Steps = []string{stepFiles}
		}
		r.Lease, err = p.ledger.Create(r.Lease)
	}
	if err != nil {
		return r, errors.Join(err, p.restore())
	}
	p.o.fault("reserved")
	if note != "" {
		r.Notes = append(r.Notes, note)
	}
	if !files {
		return r, nil
	}
	if err := p.noteSteps(&r, []string{stepFiles}); err != nil {
		return r, err
	}
	p.o.fault("reserved files intended")
	if _, err := p.writeFiles(r); err != nil {
		return r, err
	}
	r.Actions = append(r.Actions, stepFiles)
	return r, nil
}

// expected is what a container will be, as far as its sandbox shows.
func (p *Preparer) expected(v Reservation) (t Target, note string, err error) {
	t = Target{ID: v.ID, Owner: v.Owner}
	pid := v.Sandbox
	if pid == 0 {
		pid = 1
	} else if t.OwnIDs, err = ownUserNamespace(p.o.Host.Proc, pid); err != nil {
		return t, "", noProcess(err)
	}
	if t.UIDs, t.GIDs, err = sources.Maps(p.o.Host.Proc, int(pid)); err != nil {
		return t, "", noProcess(err)
	}
	var u User
	if v.User != nil {
		u = *v.User
	} else {
		note = "the runtime does not tell the container's user: it is read from the first process, before that runs"
	}
	var ok1, ok2 bool
	t.UID, ok1 = t.UIDs.ToHost(u.UID)
	t.GID, ok2 = t.GIDs.ToHost(u.GID)
	if !ok1 || !ok2 {
		return t, "", fmt.Errorf("user %d:%d is not mapped in the sandbox's user namespace: choose a user of its uid_map and gid_map", u.UID, u.GID)
	}
	return t, note, nil
}

// FilesDir is where the files subuid and subgid of a lease are.
func (p *Preparer) FilesDir(id string) string { return filepath.Join(p.o.Files, id) }

// Lease returns a lease. It never waits for a change under way.
func (p *Preparer) Lease(id string) (ledger.Lease, bool) { return p.ledger.Get(id) }

// Place says where a container that is created lives: a process of it, or its
// cgroup below the mount. The process is the better witness.
type Place struct {
	PID    identity.HostPID
	Cgroup string
}

// HandOver settles whose a container is whose ids are reserved, delegates its
// cgroup, verifies that, and completes the lease. It may be repeated.
func (p *Preparer) HandOver(ctx context.Context, id string, at Place, pr Profile) (Result, error) {
	defer p.primer.finish(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	r, err := p.handOver(ctx, id, at, pr)
	if err != nil {
		return Result{}, fmt.Errorf("hand over to %s: %w", id, err)
	}
	return r, nil
}

func (p *Preparer) handOver(ctx context.Context, id string, at Place, pr Profile) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	l, ok := p.ledger.Get(id)
	if !ok {
		return Result{}, fmt.Errorf("%w: nothing was reserved when the container was created", ledger.ErrNoLease)
	}
	if err := p.again(l, Target{CgroupID: l.CgroupID}, pr); err != nil {
		return Result{}, err
	}
	r := Result{Lease: l}
	if l.State == ledger.Intent {
		var err error
		if r, err = p.meet(l, at, pr); err != nil {
			return Result{}, err
		}
	}
	// Ids and files are settled: the rest is as for any container.
	pr.Files = false
	return p.carryOut(ctx, Target{ID: id}, pr, r)
}

// PrepareLate prepares a container that runs already: its engine may have seen
// the cgroup as it was.
func (p *Preparer) PrepareLate(ctx context.Context, v Reservation, pid identity.HostPID) (Result, error) {
	// What was begun by HandOver goes on there. What was begun here may lack its
	// files still: Prepare does nothing twice.
	if l, ok := p.ledger.Get(v.ID); ok && l.Live() && (reserved(l) || l.Unsettled || l.State != ledger.Intent) {
		return p.HandOver(ctx, v.ID, Place{PID: pid}, v.Profile)
	}
	t, err := Describe(p.o.Host.Proc, p.o.Mount, pid)
	if err != nil {
		return Result{}, err
	}
	t.ID, t.Owner = v.ID, v.Owner
	return p.Prepare(ctx, t, v.Profile)
}

// Drop releases the lease of a container that its runtime says is gone. Of one
// that was handed over the kernel must say so too. No lease is no error.
func (p *Preparer) Drop(ctx context.Context, id string) (Result, error) {
	l, ok := p.ledger.Get(id)
	if !ok || !l.Live() {
		return Result{Lease: l}, nil
	}
	return p.Release(ctx, id, ReleaseOptions{Force: reserved(l)})
}

// reserved reports whether the container of a lease was not seen yet.
func reserved(l ledger.Lease) bool { return l.State == ledger.Intent && l.Cgroup == "" }
