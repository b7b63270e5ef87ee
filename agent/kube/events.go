package kube

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/record/util"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Reasons of Events.
const (
	Prepared   = "EyasPrepared"   // ids and a cgroup of its own, before its first program runs
	Unprepared = "EyasUnprepared" // it runs without
	Refused    = "EyasRefused"    // the pod's annotation is no choice
	PoolDry    = "EyasPoolDry"    // no ids are left on this node
	Escaped    = "EyasEscaped"    // a nested container is outside the cgroup of the one around it
)

// Outcome is what became of a container, or of a pod.
type Outcome struct {
	Namespace, Pod, UID string
	Container           string // "": of the pod as a whole
	Reason              string
	Message             string // for people; what was hostile in it is quoted already
}

const (
	maxMessage = 1000 // bytes; the API server takes 1024
	maxQueue   = 512  // Events that wait
	maxAge     = time.Hour
	maxDenied  = 60 // first waits, in which "forbidden" may pass
)

// Fates of Events, as the metric has them.
const (
	fateSent       = "sent"
	fateSuppressed = "suppressed" // too many of one pod
	fateDropped    = "dropped"    // the queue was full, or they waited for an hour
	fateRefused    = "refused"    // by the API server
)

// events sends Events. client-go's correlator adds up what is alike and bounds how
// many there are of a pod. Its broadcaster is not used: it counts nothing, and
// drops what a throttling API server does not take at once.
type events struct {
	client  rest.Interface
	node    string
	wait    time.Duration
	log     zerolog.Logger
	queue   chan *corev1.Event
	correct *record.EventCorrelator
	fates   map[string]*atomic.Uint64
	denied  time.Time // since when all is forbidden; zero: it is not
}

func newEvents(client rest.Interface, node string, wait time.Duration, log zerolog.Logger) *events {
	e := &events{
		client: client, node: node, wait: wait, log: log, queue: make(chan *corev1.Event, maxQueue),
		// 10 of a pod at once, one a minute after that. A message that is the same
		// again only counts; of those that differ the eleventh within ten minutes,
		// and those after it, are one.
		correct: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{BurstSize: 10, QPS: 1. / 60}),
		fates:   map[string]*atomic.Uint64{},
	}
	for _, f := range []string{fateSent, fateSuppressed, fateDropped, fateRefused} {
		e.fates[f] = &atomic.Uint64{}
	}
	return e
}

// Tell makes an Event of an outcome. It never blocks.
func (k *Kube) Tell(o Outcome) { k.events.tell(o, time.Now()) }

// Escaped implements tracker.Pods.
func (k *Kube) Escaped(pod identity.Pod, chain []string, cgroup string) {
	names := make([]string, len(chain))
	for i, s := range chain {
		names[i] = quote(s)
	}
	k.Tell(Outcome{
		Namespace: pod.Namespace, Pod: pod.Name, UID: pod.UID, Container: pod.Container, Reason: Escaped,
		Message: fmt.Sprintf("nested container %s lives in cgroup %s, outside the subtree of the container around it: limits and accounting there miss it",
			strings.Join(names, " ▸ "), quote(cgroup)),
	})
}

// quote makes hostile text short, and safe in a message that ends on terminals.
func quote(s string) string { return strconv.QuoteToGraphic(text(s, 200)) }

func (e *events) tell(o Outcome, now time.Time) {
	if len(validation.IsDNS1123Label(o.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(o.Pod)) > 0 {
		e.fates[fateRefused].Add(1) // no pod of Kubernetes: other callers of a runtime may name theirs as they like
		return
	}
	kind := corev1.EventTypeWarning
	if o.Reason == Prepared {
		kind = corev1.EventTypeNormal
	}
	ref := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: o.Namespace, Name: o.Pod, UID: types.UID(o.UID)}
	if o.Container != "" {
		ref.FieldPath = "spec.containers{" + o.Container + "}"
	}
	at := metav1.NewTime(now)
	ev := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: util.GenerateEventName(o.Pod, now.UnixNano()), Namespace: o.Namespace},
		InvolvedObject: ref, Reason: o.Reason, Message: text(o.Message, maxMessage), Type: kind, Count: 1,
		FirstTimestamp: at, LastTimestamp: at,
		Source:              corev1.EventSource{Component: "eyas", Host: e.node},
		ReportingController: "eyas.dev/agent", ReportingInstance: e.node,
	}
	select {
	case e.queue <- ev:
	default:
		e.fates[fateDropped].Add(1)
	}
}

// run sends until ctx ends.
func (e *events) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case ev := <-e.queue:
			e.send(ctx, ev)
		}
	}
}

// send sends one Event, however long that takes, up to maxAge.
func (e *events) send(ctx context.Context, ev *corev1.Event) {
	r, err := e.correct.EventCorrelate(ev)
	switch {
	case err != nil:
		e.log.Debug().Err(err).Msg("correlate an Event")
		e.fates[fateRefused].Add(1)
		return
	case r.Skip:
		e.fates[fateSuppressed].Add(1)
		return
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = e.wait, 30*time.Second
	for {
		sent, err := e.try(ctx, r)
		if err == nil {
			e.denied = time.Time{}
			e.correct.UpdateState(sent)
			e.fates[fateSent].Add(1)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if !passes(err) && !e.starts(err, time.Now()) {
			e.fates[fateRefused].Add(1)
			e.log.Debug().Err(err).Str("reason", ev.Reason).Msg("the API server refuses an Event")
			return
		}
		if time.Since(ev.LastTimestamp.Time) > maxAge {
			e.fates[fateDropped].Add(1)
			return
		}
		timer := time.NewTimer(wait.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (e *events) try(ctx context.Context, r *record.EventCorrelateResult) (*corev1.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	sent := &corev1.Event{}
	if r.Event.Count > 1 {
		err := e.client.Patch(types.StrategicMergePatchType).Namespace(r.Event.Namespace).Resource("events").Name(r.Event.Name).
			Body(r.Patch).Do(ctx).Into(sent)
		if !apierrors.IsNotFound(err) { // an Event lives for an hour
			return sent, err
		}
	}
	r.Event.ResourceVersion = ""
	err := e.client.Post().Namespace(r.Event.Namespace).Resource("events").Body(r.Event).Do(ctx).Into(sent)
	return sent, err
}

// starts reports whether an error may be that of an API server that has just
// started: until it has read its rules it forbids everything. Where the rules do
// forbid it, that costs sixty first waits, once.
func (e *events) starts(err error, now time.Time) bool {
	if !apierrors.IsForbidden(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false
	}
	if e.denied.IsZero() {
		e.denied = now
	}
	return now.Sub(e.denied) < maxDenied*e.wait
}

// passes reports whether an error may pass: the server, the way to it, or our
// token, not what was asked.
func passes(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	switch code := status.Status().Code; {
	case apierrors.IsUnauthorized(err), code == 429, code >= 500:
		return true
	}
	return false
}
