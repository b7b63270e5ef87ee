package kube

import (
	"context"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Options of a Kube.
type Options struct {
	Kubeconfig string // file; "": as a pod
	Node       string // name of this node in Kubernetes
	Dir        string // state directory
	Version    string
	Backoff    time.Duration // first wait after the API server was found away; 0: 1 s
	Every      time.Duration // between two heartbeats of the condition; 0: 5 min
	Log        zerolog.Logger
}

// Kube speaks with one API server. Safe for concurrent use.
type Kube struct {
	o      Options
	config *rest.Config
	pods   *pods
	events *events
	state  *condition

	ctx      context.Context // of Run
	told     atomic.Bool     // that the API server does not answer
	failures atomic.Uint64   // requests for pods
}

// New finds the API server, and reads what was last known of this node's pods. It
// makes no request. The error is ErrNone where there is no API server.
func New(o Options) (*Kube, error) {
	if o.Backoff <= 0 {
		o.Backoff = time.Second
	}
	if o.Every <= 0 {
		o.Every = 5 * time.Minute
	}
	c, err := configOf(o)
	if err != nil {
		return nil, err
	}
	k := &Kube{o: o, config: c, pods: newPods()}
	k.pods.synced = k.back
	client, err := NewClient(c, o.Version)
	if err != nil {
		return nil, err
	}
	k.events = newEvents(client, o.Node, o.Backoff, o.Log)
	k.state = newCondition(client, o)
	if err := k.pods.load(o.Dir, o.Node); err != nil {
		o.Log.Error().Err(err).Msg("pods are not known until the API server answers")
	}
	return k, nil
}

// saveEvery is how often news go to the file at most.
const saveEvery = 10 * time.Second

// Run follows the API server until ctx ends. That it is away is no error.
func (k *Kube) Run(ctx context.Context) error {
	client, err := NewClient(k.config, k.o.Version)
	if err != nil {
		return err
	}
	k.ctx = ctx
	// A reflector may sit out a backoff before it looks at its context: it is
	// left behind.
	go k.watch(ctx, client)
	var g errgroup.Group
	g.Go(func() error { k.events.run(ctx); return nil })
	g.Go(func() error { k.state.run(ctx); return nil })
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if err := k.pods.save(k.o.Dir, k.o.Node); err != nil {
			k.o.Log.Error().Err(err).Msg("after a restart without the API server pods will be unknown")
		}
	}
	return g.Wait()
}

// Pod implements tracker.Pods.
func (k *Kube) Pod(uid, container string) (identity.Pod, bool) { return k.pods.Pod(uid, container) }

// Changed implements tracker.Pods.
func (k *Kube) Changed() <-chan struct{} { return k.pods.changed }

// LastKnown is what an agent that does not run any more knew of pods.
type LastKnown struct{ pods *pods }

// ReadLastKnown reads it from the state directory; nil: nothing is there.
func ReadLastKnown(dir string) *LastKnown {
	s := newPods()
	if err := s.load(dir, ""); err != nil || s.n == 0 {
		return nil
	}
	return &LastKnown{s}
}

// Pod implements tracker.Pods, as do the others.
func (k *LastKnown) Pod(uid, container string) (identity.Pod, bool) {
	return k.pods.Pod(uid, container)
}

// Changed never has one.
func (k *LastKnown) Changed() <-chan struct{} { return nil }

// Escaped tells nobody.
func (k *LastKnown) Escaped(identity.Pod, []string, string) {}

// text makes s valid UTF-8 of n bytes at most.
func text(s string, n int) string {
	if s = identity.Valid(s); len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
