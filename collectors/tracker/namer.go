package tracker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// Namer finds the names of containers: it reads cgroup paths, mounts and the
// files of the sandbox around a container, on a goroutine of its own, because
// a sandbox can make a read slow.
type Namer struct {
	Proc    string
	Log     zerolog.Logger
	Timeout time.Duration // for one container; default 2 s

	once  sync.Once
	queue chan string // short ids
	mu    sync.Mutex
	tries map[string]int
	wait  map[string]bool
}

// nameJob is a container to be named, by what may be read without a lock.
type nameJob struct {
	id     string // short id
	pid    identity.HostPID
	start  uint64
	parent identity.HostPID // first process of the container around it, 1 for the node
	cgroup string
	outer  []string // runtime ids of the containers around it
}

const (
	maxNameTries = 8    // a runtime writes its state before, or soon after, the start
	maxNameQueue = 4096 // containers waiting; beyond that the next sight asks again
)

func (n *Namer) init() {
	n.once.Do(func() {
		if n.Timeout <= 0 {
			n.Timeout = 2 * time.Second
		}
		n.queue = make(chan string, maxNameQueue)
		n.tries, n.wait = map[string]int{}, map[string]bool{}
	})
}

// consider queues the containers that a process speaks for and that have no
// name yet, the outer ones first. It never blocks; the table's lock is held.
func (n *Namer) consider(p *identity.Process) {
	n.init()
	for _, c := range p.Home.Links {
		if c.Init != p.Key || c.Name.Name != "" || c.Gone() {
			continue
		}
		if c.Parent != nil && c.Parent.Init == p.Key {
			continue // the same process in a further user namespace: no other container
		}
		n.push(c.ID)
	}
}

func (n *Namer) push(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wait[id] || n.tries[id] >= maxNameTries {
		return
	}
	select {
	case n.queue <- id:
		n.wait[id] = true
		n.tries[id]++
	default:
	}
}

// forget drops what is kept of a container that is gone.
func (n *Namer) forget(id string) {
	n.init()
	n.mu.Lock()
	delete(n.tries, id)
	n.mu.Unlock()
}

// RunNamer names containers until ctx ends.
func (t *Tracker) RunNamer(ctx context.Context) error {
	t.o.Namer.init()
	for {
		select {
		case <-ctx.Done():
			return nil
		case id := <-t.o.Namer.queue:
			t.nameOne(ctx, id)
		}
	}
}

// NameAll names all containers now, for a look without a daemon.
func (t *Tracker) NameAll(ctx context.Context) {
	t.o.Namer.init()
	for {
		select {
		case id := <-t.o.Namer.queue:
			t.nameOne(ctx, id)
		default:
			return
		}
	}
}

func (t *Tracker) nameOne(ctx context.Context, id string) {
	n := t.o.Namer
	if job, ok := t.nameJob(id); ok {
		name, err := n.bounded(ctx, job)
		if err != nil {
			n.Log.Debug().Err(err).Str("container", id).Msg("could not read all evidence of a name")
		}
		t.setName(job, name)
	}
	n.mu.Lock()
	delete(n.wait, id)
	n.mu.Unlock()
}

// nameJob collects what is known of a container when its turn comes: those
// around it have been named by then.
func (t *Tracker) nameJob(id string) (nameJob, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.o.Table.Container(id)
	if c == nil {
		return nameJob{}, false
	}
	job := nameJob{id: id, pid: c.Init.PID, start: c.Init.Start, parent: 1, cgroup: c.Cgroup}
	if c.Parent != nil && c.Parent.Init.PID != 0 {
		job.parent = c.Parent.Init.PID
	}
	for x := c.Parent; x != nil; x = x.Parent {
		if x.Name.ID != "" {
			job.outer = append(job.outer, x.Name.ID)
		}
	}
	return job, true
}

func (t *Tracker) setName(job nameJob, name identity.Name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.o.Table.Container(job.id)
	if c == nil || c.Init.PID != job.pid || name == (identity.Name{}) {
		return
	}
	if c.Name.Name != "" && name.Name == "" {
		return
	}
	c.Name = name
	t.wakePods()
	if t.o.Memory != nil {
		t.o.Memory.PutContainer(c.Record(t.o.Clock))
	}
}

// bounded runs name with a deadline. A read that a sandbox blocks for ever
// costs one goroutine, never the naming of others.
func (n *Namer) bounded(ctx context.Context, job nameJob) (identity.Name, error) {
	type result struct {
		name identity.Name
		err  error
	}
	done := make(chan result, 1)
	go func() {
		name, err := n.name(job)
		done <- result{name, err}
	}()
	timer := time.NewTimer(n.Timeout)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.name, r.err
	case <-timer.C:
		return identity.Name{}, fmt.Errorf("read evidence of container %s: %w", job.id, os.ErrDeadlineExceeded)
	case <-ctx.Done():
		return identity.Name{}, ctx.Err()
	}
}

// name collects the claims about one container, the kernel's first.
func (n *Namer) name(job nameJob) (identity.Name, error) {
	var claims []evidence.Claim
	var errs []error
	note := func(c evidence.Claim, ok bool, err error) {
		if ok {
			claims = append(claims, c)
		}
		errs = append(errs, err)
	}

	ref, pod := n.cgroupRef(job)
	if ref != nil {
		claims = append(claims, ref.Claim())
	}
	mounts, err := evidence.ReadMountinfo(n.Proc, int(job.pid))
	errs = append(errs, err)
	// A process in its parent's mount namespace has its parent's mounts.
	own := n.ownMounts(job)
	if own {
		if c, ok := evidence.MountClaim(strings.NewReader(mounts)); ok && !contains(job.outer, c.ID) {
			claims = append(claims, c)
		}
	}
	id := ""
	for _, c := range claims {
		if c.ID != "" {
			id = c.ID
			break
		}
	}
	if id != "" {
		hints := append(evidence.GraphRoots(strings.NewReader(mounts)), n.monitorHints(job.pid)...)
		for _, pid := range n.engineRoots(job) {
			before := len(claims)
			root, err := evidence.OpenRoot(n.Proc, pid)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			note(root.Podman(id, hints))
			note(root.Docker(id))
			errs = append(errs, root.Close())
			if len(claims) > before {
				break
			}
		}
	}
	if own {
		if root, err := evidence.OpenRoot(n.Proc, int(job.pid)); err == nil {
			note(root.Containerenv())
			errs = append(errs, root.Close())
		}
	}
	if comm := n.parentComm(job.pid); comm != "" {
		claims = append(claims, evidence.CommClaim(comm))
	}
	if !n.same(job) {
		return identity.Name{}, nil // the pid is somebody else's now
	}
	m := evidence.Merge(claims)
	name := identity.Name{Runtime: m.Runtime, ID: m.ID, Name: m.Name, Image: m.Image, PodUID: pod, Source: m.Source}
	if name.Runtime == "" && name.ID == "" && name.Name == "" && pod == "" {
		return identity.Name{}, errors.Join(errs...)
	}
	return name, errors.Join(errs...)
}

// cgroupRef finds the innermost container that the cgroup paths name and that
// is not one of those around. v1 paths count too: on hybrid nodes runtimes
// make no v2 cgroups.
func (n *Namer) cgroupRef(job nameJob) (ref *evidence.CgroupRef, pod string) {
	paths := []string{job.cgroup}
	if fs, err := procfs.NewFS(n.Proc); err == nil {
		if p, err := fs.Proc(int(job.pid)); err == nil {
			if groups, err := p.Cgroups(); err == nil {
				for _, g := range groups {
					paths = append(paths, g.Path)
				}
			}
		}
	}
	for _, path := range paths {
		refs := evidence.ParseCgroupPath(path)
		if below := evidence.BelowContainer(path, job.outer); below != "" {
			refs = append(refs, evidence.ParseCgroupPath(below)...)
		}
		for _, r := range refs {
			if r.PodUID != "" {
				pod = r.PodUID
			}
			if r.Pod() || r.Conmon || contains(job.outer, r.ID) {
				continue
			}
			// The innermost strong one; a weak one only for want of better.
			if ref == nil || ref.Weak || !r.Weak {
				found := r
				ref = &found
			}
		}
		if ref != nil && !ref.Weak {
			break
		}
	}
	return ref, pod
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s && s != "" {
			return true
		}
	}
	return false
}

func (n *Namer) ownMounts(job nameJob) bool {
	return n.mountNS(job.pid) != n.mountNS(job.parent)
}

func (n *Namer) mountNS(pid identity.HostPID) string {
	ns, err := os.Readlink(filepath.Join(n.Proc, strconv.Itoa(int(pid)), "ns", "mnt"))
	if err != nil {
		return ""
	}
	return ns
}

// parentComm returns the comm of the process that started a container's first.
func (n *Namer) parentComm(pid identity.HostPID) string {
	parent, ok := n.parentOf(pid)
	if !ok {
		return ""
	}
	comm, err := parent.Comm()
	if err != nil {
		return ""
	}
	return comm
}

// engineRoots lists processes through whose root the engine's state may be
// seen: the one that started the container, the first of the container around
// it, and for the node this one, which may look where pid 1 is out of reach.
func (n *Namer) engineRoots(job nameJob) []int {
	var pids []int
	if p, ok := n.parentOf(job.pid); ok {
		pids = append(pids, p.PID)
	}
	pids = append(pids, int(job.parent))
	if job.parent == 1 {
		pids = append(pids, os.Getpid())
	}
	return pids
}

// parentOf returns the process that started a container's first, or took it over.
func (n *Namer) parentOf(pid identity.HostPID) (procfs.Proc, bool) {
	fs, err := procfs.NewFS(n.Proc)
	if err != nil {
		return procfs.Proc{}, false
	}
	p, err := fs.Proc(int(pid))
	if err != nil {
		return procfs.Proc{}, false
	}
	stat, err := p.Stat()
	if err != nil {
		return procfs.Proc{}, false
	}
	parent, err := fs.Proc(stat.PPID)
	return parent, err == nil
}

// monitorHints finds podman's graph root in the arguments of the container's
// monitor: conmon is told the bundle, <root>/<driver>-containers/<id>/userdata.
// Only a hint of where to look: the arguments are the sandbox's.
func (n *Namer) monitorHints(pid identity.HostPID) []string {
	parent, ok := n.parentOf(pid)
	if !ok {
		return nil
	}
	return evidence.MonitorRoots(n.Proc, parent.PID)
}

// same reports whether the pid is still the process that was queued: what was
// read belongs to it only then. Start times of /proc are in 10 ms ticks.
func (n *Namer) same(job nameJob) bool {
	fs, err := procfs.NewFS(n.Proc)
	if err != nil {
		return false
	}
	p, err := fs.Proc(int(job.pid))
	if err != nil {
		return false
	}
	stat, err := p.Stat()
	return err == nil && stat.Starttime == job.start/uint64(10*time.Millisecond)
}
