package nri

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// session is one connection. Its methods are what package stub looks for.
type session struct {
	*Plugin
	configured chan struct{} // has one when the runtime has configured
	runtime    string
	limit      func() time.Duration // of the runtime, for an answer
}

// Configure hears who the runtime is.
func (s *session) Configure(_ context.Context, _, runtime, version string) (api.EventMask, error) {
	s.runtime = clean(runtime)
	s.setDeadline(s.limit())
	s.o.Log.Debug().Str("runtime", s.runtime).Str("version", clean(version)).Msg("the runtime configures")
	select {
	case s.configured <- struct{}{}:
	default:
	}
	return 0, nil
}

// CreateContainer reserves ids and says what the container is to get.
func (s *session) CreateContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	id := c.GetId()
	a, err := sandbox(ctx, s.Plugin, "CreateContainer", pod, c, func(ctx context.Context, pr Profile) (*api.ContainerAdjustment, error) {
		v, err := s.reservation(pod, c, pr)
		if err != nil {
			return nil, err
		}
		r, err := s.o.Preparer.Reserve(ctx, v)
		if err != nil {
			return nil, err
		}
		a, notes := s.adjust(c, pr, r, s.o.Preparer.FilesDir(id))
		for _, n := range r.Notes { // of the node, mostly
			s.event(zerolog.DebugLevel, pod, c).Str("note", n).Msg("noted when ids were leased")
		}
		for _, n := range notes {
			s.event(zerolog.InfoLevel, pod, c).Str("note", n).Msg("a sandbox gets less than its profile says")
		}
		return a, nil
	}, func() { s.drop(id) })
	if err != nil {
		s.drop(id) // it will not be used
		err = public(err)
		if err != nil {
			s.settled(id) // it will not exist
		}
		return nil, nil, err
	}
	s.mu.Lock()
	s.reserved[id] = pod.GetId()
	s.mu.Unlock()
	return a, nil, nil
}

// reservation asks for what a pod's container needs.
func (s *session) reservation(pod *api.PodSandbox, c *api.Container, pr Profile) (prepare.Reservation, error) {
	v := prepare.Reservation{
		ID: c.GetId(), Sandbox: identity.HostPID(pod.GetPid()), Profile: pr.Profile,
		Owner: ledger.Owner{
			Namespace: clean(pod.GetNamespace()), Pod: clean(pod.GetName()), PodUID: clean(pod.GetUid()),
			Container: clean(c.GetName()), ContainerID: clean(c.GetId()), Runtime: s.runtime,
		},
	}
	if v.Sandbox == 0 && hasNamespace(c, "user") {
		return v, errors.New("the runtime does not tell the sandbox's pid, so its user namespace cannot be read: use a newer runtime")
	}
	if u := c.GetUser(); u != nil { // runtimes with NRI before 0.10 do not tell
		v.User = &prepare.User{UID: identity.UID(u.GetUid()), GID: identity.GID(u.GetGid())}
	}
	return v, nil
}

// StartContainer delegates the cgroup: the container is created, and its first
// process waits.
func (s *session) StartContainer(ctx context.Context, pod *api.PodSandbox, c *api.Container) error {
	s.podLogs(ctx, pod, c)
	_, err := sandbox(ctx, s.Plugin, "StartContainer", pod, c, func(ctx context.Context, pr Profile) (prepare.Result, error) {
		at := prepare.Place{PID: identity.HostPID(c.GetPid())}
		var err error
		if at.Cgroup, err = cgroupPath(c.GetLinux().GetCgroupsPath()); err != nil && at.PID == 0 {
			return prepare.Result{}, err
		}
		r, err := s.o.Preparer.HandOver(ctx, c.GetId(), at, pr.Profile)
		for _, n := range r.Notes {
			s.event(zerolog.InfoLevel, pod, c).Str("note", n).Msg("noted when the cgroup was handed over")
		}
		return r, err
	}, nil)
	if err == nil {
		s.settled(c.GetId())
		s.tell(Prepared, pod, c, "prepared: it has ids and a cgroup of its own to nest containers in")
	}
	return public(err)
}

// StopContainer takes back what the container was lent, when it has ended.
func (s *session) StopContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) ([]*api.ContainerUpdate, error) {
	s.ended("StopContainer", c)
	return nil, nil
}

// RemoveContainer does the same for what StopContainer left.
func (s *session) RemoveContainer(_ context.Context, _ *api.PodSandbox, c *api.Container) error {
	s.ended("RemoveContainer", c)
	s.dropLogs(c)
	return nil
}

// RemovePodSandbox does the same for containers that were never created after
// all: another plugin, or the runtime, refused them.
func (s *session) RemovePodSandbox(_ context.Context, pod *api.PodSandbox) error {
	s.podEnded(pod)
	return nil
}

// Shutdown says that the runtime ends; the connection ends with it.
func (s *session) Shutdown(context.Context) {
	s.o.Log.Info().Msg("the runtime shuts down")
}

// Synchronize hears of all containers there are.
func (s *session) Synchronize(ctx context.Context, pods []*api.PodSandbox, cs []*api.Container) ([]*api.ContainerUpdate, error) {
	s.synchronize(ctx, s.runtime, pods, cs)
	s.later("", func(ctx context.Context) { s.allLogs(ctx, pods, cs) })
	s.setConnected(s.runtime)
	return nil, nil
}
