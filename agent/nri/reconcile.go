package nri

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// ended hears that a container is over. It never waits.
func (p *Plugin) ended(event string, c *api.Container) {
	var err error
	defer p.observe(event, time.Now(), &err)()
	p.settled(c.GetId())
	if !p.drop(c.GetId()) {
		err = errIgnored
	}
}

// podEnded hears that a pod is over, and all its containers with it. A pod's uid
// would not do: it may have a new sandbox already.
func (p *Plugin) podEnded(pod *api.PodSandbox) {
	err := errIgnored
	defer p.observe("RemovePodSandbox", time.Now(), &err)()
	p.mu.Lock()
	maps.DeleteFunc(p.unprepared, func(_ string, m missing) bool { return m.pod == pod.GetId() })
	delete(p.refused, pod.GetId())
	var left []string
	for id, sandbox := range p.reserved {
		if sandbox == pod.GetId() {
			left = append(left, id)
			delete(p.reserved, id)
		}
	}
	p.mu.Unlock()
	for _, id := range left {
		if p.drop(id) {
			err = nil
		}
	}
}

// drop has a lease released later, and reports whether there is one.
func (p *Plugin) drop(id string) bool {
	if l, ok := p.o.Preparer.Lease(id); !ok || !l.Live() {
		return false
	}
	p.later(id, func(ctx context.Context) {
		_, err := p.o.Preparer.Drop(ctx, id)
		var held *subid.NotReleasedError
		switch {
		case err == nil:
			p.o.Log.Debug().Str("lease", id).Msg("lease taken back")
		case errors.Is(err, prepare.ErrRunning), errors.As(err, &held), ctx.Err() != nil:
			p.o.Log.Debug().Err(err).Str("lease", id).Msg("lease cannot be taken back yet")
		default:
			p.o.Log.Error().Err(err).Str("lease", id).Msg("lease could not be taken back; it stays taken and is tried again")
		}
	})
	return true
}

// later does something for a container outside of a request. There is one job
// for each container, so the containers bound them.
func (p *Plugin) later(id string, f func(context.Context)) {
	p.mu.Lock()
	p.jobs[id] = f
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// runJobs does what later asked for, until ctx ends.
func (p *Plugin) runJobs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		p.mu.Lock()
		jobs := p.jobs
		p.jobs = map[string]func(context.Context){}
		p.mu.Unlock()
		for _, f := range jobs {
			if ctx.Err() != nil {
				return
			}
			_, _ = safely(ctx, p, func(ctx context.Context) (struct{}, error) { // it has logged
				f(ctx)
				return struct{}{}, nil
			})
		}
	}
}

// maxNamed bounds how many containers one synchronization names in the log.
const maxNamed = 20

// synchronize compares the containers there are with the leases on record.
func (p *Plugin) synchronize(ctx context.Context, runtime string, pods []*api.PodSandbox, cs []*api.Container) {
	var err error
	defer p.observe("Synchronize", time.Now(), &err)()
	_, err = within(ctx, p, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, p.compare(ctx, runtime, pods, cs)
	}, nil)
	if err != nil {
		p.o.Log.Error().Err(err).Msg("containers and leases could not be compared: some may be unprepared unnoticed")
	}
}

func (p *Plugin) compare(ctx context.Context, runtime string, pods []*api.PodSandbox, cs []*api.Container) error {
	byID := map[string]*api.PodSandbox{}
	for _, pod := range pods {
		byID[pod.GetId()] = pod
	}
	present, lacking := map[string]bool{}, map[string]missing{}
	var late []func()
	for _, c := range cs {
		if c.GetState() == api.ContainerState_CONTAINER_STOPPED {
			continue
		}
		id, pod := c.GetId(), byID[c.GetPodSandboxId()]
		present[id] = true
		pr, wanted, err := p.choose(pod)
		l, ok := p.o.Preparer.Lease(id)
		created := c.GetState() == api.ContainerState_CONTAINER_CREATED
		switch {
		case err == nil && !wanted, ok && l.State == ledger.Done, ok && l.State == ledger.Intent && created:
			continue // StartContainer is still to come for the last
		case err == nil:
			err = errors.New("it was created or started while eyas was not connected")
		}
		lacking[id] = missingOf(pod, c)
		if !p.refuse(pod, err) && len(lacking) <= maxNamed {
			p.event(zerolog.WarnLevel, pod, c).Err(err).Msg("a sandbox is not prepared: restart it")
			p.tellUnprepared(pod, c, err)
		}
		if wanted && pr.Late {
			late = append(late, func() { p.prepareLate(runtime, pod, c, pr) })
		}
	}
	n := len(lacking)
	p.mu.Lock()
	p.unprepared = lacking
	clear(p.reserved)
	maps.DeleteFunc(p.refused, func(id string, _ bool) bool { return byID[id] == nil })
	p.mu.Unlock()
	for _, f := range late { // each takes its container out of unprepared
		f()
	}
	all, err := p.o.Preparer.Leases(ctx)
	if err != nil {
		return err
	}
	for _, l := range all.Leases {
		if l.Live() && l.Owner.ContainerID == l.ID && !present[l.ID] { // others were made by hand
			p.drop(l.ID)
		}
	}
	p.o.Log.Info().Int("containers", len(present)).Int("unprepared", n).Msg("containers and leases compared")
	return nil
}

// prepareLate prepares a container that runs, outside of any request.
func (p *Plugin) prepareLate(runtime string, pod *api.PodSandbox, c *api.Container, pr Profile) {
	p.later(c.GetId(), func(ctx context.Context) {
		err := errors.New("the runtime does not tell its pid")
		if pid := identity.HostPID(c.GetPid()); pid != 0 {
			s := session{Plugin: p, runtime: runtime}
			var v prepare.Reservation
			if v, err = s.reservation(pod, c, pr); err == nil {
				_, err = p.o.Preparer.PrepareLate(ctx, v, pid)
			}
		}
		if err != nil {
			p.event(zerolog.WarnLevel, pod, c).Err(err).Msg("a sandbox could not be prepared late")
			return
		}
		p.settled(c.GetId())
		p.event(zerolog.InfoLevel, pod, c).Msg("a sandbox was prepared late: its engine may have to be started again")
		p.tell(Prepared, pod, c, "prepared after its start: its engine may have to be started again")
	})
}
