package nri

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/collectors/identity"
	exporter "github.com/eyas-agent/eyas/exporter/api"
)

// DefaultSocket is where runtimes listen for plugins.
const DefaultSocket = api.DefaultSocketPath

// Preparer is what the plugin needs of a *prepare.Preparer.
type Preparer interface {
	Reserve(ctx context.Context, v prepare.Reservation) (prepare.Result, error)
	HandOver(ctx context.Context, id string, at prepare.Place, pr prepare.Profile) (prepare.Result, error)
	PrepareLate(ctx context.Context, v prepare.Reservation, pid identity.HostPID) (prepare.Result, error)
	Drop(ctx context.Context, id string) (prepare.Result, error)
	Leases(ctx context.Context) (prepare.Leases, error)
	Lease(id string) (ledger.Lease, bool) // never waits
	FilesDir(id string) string
}

// Options of a Plugin. Only Preparer must be given.
type Options struct {
	Preparer Preparer
	Socket   string // "": DefaultSocket
	Name     string // of the plugin; "": eyas
	Index    string // two digits: the order among plugins; "": 50
	Optional bool   // a machine without the socket is no news

	Profiles   []Profile         // nil: Profiles()
	Default    string            // profile for "true"; "": the first
	Namespaces map[string]string // profile by the pod's namespace, without an annotation
	Handlers   map[string]string // profile by the pod's runtime handler, likewise

	Unified  bool          // /sys/fs/cgroup is cgroup2: bounds and a writable mount make sense
	Logs     LogChooser    // may be nil; see ChooseLogs
	Root     string        // of the host's file system; "": /
	Deadline time.Duration // of an answer; 0: three quarters of the time that the runtime gives
	Changed  func()        // hears when the runtime is connected or lost, and must not block; may be nil
	Told     func(Outcome) // hears what becomes of sandboxes, and must not block; may be nil
	Backoff  time.Duration // first wait before connecting again; 0: 500 ms
	Log      zerolog.Logger
}

// Plugin serves one runtime.
type Plugin struct {
	o    Options
	m    *requests
	wake chan struct{} // jobs has something

	mu          sync.Mutex
	deadline    time.Duration
	connected   bool
	told        bool                             // that there is no connection
	unprepared  map[string]missing               // by id of the container
	refused     map[string]bool                  // ids of pods whose annotation was refused, which is told
	refusedLogs map[string]bool                  // likewise, of that of logs
	reserved    map[string]string                // the same, of those that are not started yet
	jobs        map[string]func(context.Context) // by container: the last one counts
}

// New checks the options.
func New(o Options) (*Plugin, error) {
	def := func(s *string, to string) {
		if *s == "" {
			*s = to
		}
	}
	def(&o.Socket, DefaultSocket)
	def(&o.Name, "eyas")
	def(&o.Index, "50")
	def(&o.Root, "/")
	if o.Profiles == nil {
		o.Profiles = Profiles()
	}
	def(&o.Default, o.Profiles[0].Name)
	if o.Backoff <= 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if err := api.CheckPluginIndex(o.Index); err != nil {
		return nil, fmt.Errorf("NRI plugin: %w", err)
	}
	if err := api.CheckPluginName(o.Name); err != nil {
		return nil, fmt.Errorf("NRI plugin: %w", err)
	}
	if _, err := named(o.Profiles, o.Default); err != nil {
		return nil, fmt.Errorf("default profile: %w", err)
	}
	for what, m := range map[string]map[string]string{"namespace": o.Namespaces, "runtime handler": o.Handlers} {
		for k, name := range m {
			if _, err := named(o.Profiles, name); err != nil {
				return nil, fmt.Errorf("profile of %s %s: %w", what, quote(k), err)
			}
		}
	}
	p := &Plugin{
		o: o, m: newRequests(), wake: make(chan struct{}, 1),
		unprepared: map[string]missing{}, refused: map[string]bool{}, refusedLogs: map[string]bool{}, reserved: map[string]string{}, jobs: map[string]func(context.Context){},
	}
	p.setDeadline(0)
	return p, nil
}

// setDeadline follows the runtime, which drops a plugin that does not answer
// within limit: its plugin_request_timeout. 0: it does not tell.
func (p *Plugin) setDeadline(limit time.Duration) {
	if limit <= 0 {
		limit = stub.DefaultRequestTimeout
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deadline = p.o.Deadline; p.deadline <= 0 {
		p.deadline = limit / 4 * 3
	}
}

// missing is a container that lacks something.
type missing struct{ pod, name string } // id of its pod; namespace/pod/container

func missingOf(pod *api.PodSandbox, c *api.Container) missing {
	return missing{c.GetPodSandboxId(), clean(pod.GetNamespace()) + "/" + clean(pod.GetName()) + "/" + clean(c.GetName())}
}

// missed notes that a container runs unprepared. It is logged once.
func (p *Plugin) missed(pod *api.PodSandbox, c *api.Container, err error) {
	p.mu.Lock()
	_, known := p.unprepared[c.GetId()]
	p.unprepared[c.GetId()] = missingOf(pod, c)
	p.mu.Unlock()
	if p.refuse(pod, err) || known {
		return
	}
	p.event(zerolog.WarnLevel, pod, c).Err(err).Msg("a sandbox is not prepared: containers inside it lack ids, a cgroup of their own, or both")
	p.tellUnprepared(pod, c, err)
}

// refuse tells of a pod's refused annotation, once for each pod and whatever
// else is told. It reports whether err is of one.
func (p *Plugin) refuse(pod *api.PodSandbox, err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	p.mu.Lock()
	known := p.refused[pod.GetId()]
	p.refused[pod.GetId()] = true
	p.mu.Unlock()
	if !known {
		p.podEvent(zerolog.WarnLevel, pod).Str("annotation", Annotation).Str("got", r.Text).Str("want", r.Want).
			Msg("a pod's annotation is refused: its containers start, but not as sandboxes; correct it and make the pod anew")
		p.tell(Refused, pod, nil, err.Error())
	}
	return true
}

// settled forgets what is noted of a container: it is prepared, or gone.
func (p *Plugin) settled(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.unprepared, id)
	delete(p.reserved, id)
}

// State tells how the plugin fares.
func (p *Plugin) State() exporter.Runtime {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := exporter.Runtime{Connected: p.connected, Socket: p.o.Socket, Unprepared: len(p.unprepared), Names: []string{}}
	for _, m := range p.unprepared {
		r.Names = append(r.Names, m.name)
	}
	slices.Sort(r.Names)
	r.Names = r.Names[:min(len(r.Names), maxNamed)]
	return r
}

func (p *Plugin) event(level zerolog.Level, pod *api.PodSandbox, c *api.Container) *zerolog.Event {
	return p.podEvent(level, pod).Str("container", clean(c.GetName())).Str("container_id", clean(c.GetId()))
}

func (p *Plugin) podEvent(level zerolog.Level, pod *api.PodSandbox) *zerolog.Event {
	return p.o.Log.WithLevel(level).Str("namespace", clean(pod.GetNamespace())).Str("pod", clean(pod.GetName()))
}
