package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// selector is of the pods on a node that have not ended: those that have keep no
// container, and a node may have thousands of them.
func selector(node string) string {
	return fields.AndSelectors(
		fields.OneTermEqualSelector("spec.nodeName", node),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	).String()
}

// lister lists and watches pods for a reflector, and notes whether the API server
// answers.
type lister struct {
	*cache.ListWatch
	k *Kube
}

func (k *Kube) lister(client rest.Interface) *lister {
	chosen := selector(k.o.Node)
	lw := cache.NewFilteredListWatchFromClient(client, "pods", metav1.NamespaceAll, func(o *metav1.ListOptions) { o.FieldSelector = chosen })
	return &lister{lw, k}
}

// IsWatchListSemanticsUnSupported tells a reflector to list before it watches. Of one
// node's pods a list from the API server's cache is cheap, and it comes also where etcd
// is too old (before 3.4.31 and 3.5.13) to report the progress that ends a list by watching.
func (*lister) IsWatchListSemanticsUnSupported() bool { return true }

// ListWithContext implements cache.ListerWatcherWithContext.
func (l *lister) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	all, err := l.ListWatch.ListWithContext(ctx, o)
	if err != nil {
		l.k.away(err)
	}
	return all, err // heard is noted by the store, when it has it
}

// WatchWithContext implements cache.ListerWatcherWithContext. An API server that
// takes the connection and then says nothing counts as away.
func (l *lister) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(requestTime, func() { cancel(fmt.Errorf("no answer within %s", requestTime)) })
	w, err := l.ListWatch.WatchWithContext(ctx, o)
	if !timer.Stop() && err == nil {
		w.Stop()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel(nil)
		l.k.away(err)
		return nil, err
	}
	l.k.back()
	return &watched{w, cancel}, nil
}

// watched gives its context back when it is stopped.
type watched struct {
	watch.Interface
	cancel context.CancelCauseFunc
}

func (w *watched) Stop() {
	w.Interface.Stop()
	w.cancel(nil)
}

// watch keeps the pods equal to the API server's until ctx ends.
func (k *Kube) watch(ctx context.Context, client rest.Interface) {
	logger := newLogger(k.o.Log)
	r := cache.NewReflectorWithOptions(k.lister(client), &corev1.Pod{}, k.pods, cache.ReflectorOptions{
		Name: "pods", Logger: &logger,
		// Every node's agent comes back when the API server does: not all at once.
		Backoff: &wait.Backoff{Duration: k.o.Backoff, Cap: 30 * time.Second, Steps: 10, Factor: 2, Jitter: 1},
	})
	r.RunWithContext(ctx)
}

// away notes that the API server does not answer, and says so once.
func (k *Kube) away(err error) {
	if k.ctx != nil && k.ctx.Err() != nil {
		return // it is us who go
	}
	k.failures.Add(1)
	k.pods.setStale(true)
	if !k.told.Swap(true) {
		k.o.Log.Warn().Err(err).Msg("the Kubernetes API server does not answer: pods are told as last known; eyas keeps trying")
	}
}

// back notes that it does.
func (k *Kube) back() {
	k.pods.setStale(false)
	if k.told.Swap(false) {
		k.o.Log.Info().Msg("the Kubernetes API server answers again")
	}
}
