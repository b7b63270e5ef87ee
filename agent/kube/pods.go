package kube

import (
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// pods is what is known of this node's pods: the store behind the watch. Safe for
// concurrent use; it holds no other lock.
type pods struct {
	changed chan struct{} // has one when there is news
	synced  func()        // is called when all pods were taken; set before use

	mu      sync.RWMutex
	byUID   map[string]*entry // also by the uid of a static pod on the node
	n       int               // entries
	leftOut map[string]bool   // uids that there was no room for
	stale   bool              // the API server was not heard, or does not answer
	heard   time.Time         // when it last was
	dirty   bool              // something is not in the file
}

func newPods() *pods {
	return &pods{changed: make(chan struct{}, 1), synced: func() {}, byUID: map[string]*entry{}, leftOut: map[string]bool{}, stale: true}
}

var _ cache.TransformingStore = (*pods)(nil)

// Pod returns what is known of a container, by the uid of its pod and the
// runtime's id of it.
func (s *pods) Pod(uid, container string) (identity.Pod, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.byUID[uid]
	if e == nil {
		return identity.Pod{}, false
	}
	p := e.Pod // its map and owner are never changed
	p.Container = e.Containers[container]
	if p.Stale = s.stale; p.Stale {
		p.AsOf = s.heard
	}
	return p, true
}

func (s *pods) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Transformer implements cache.TransformingStore.
func (s *pods) Transformer() cache.TransformFunc { return trim }

// Add implements cache.ReflectorStore, as do the others.
func (s *pods) Add(obj any) error { return s.Update(obj) }

// Update takes a pod as it now is.
func (s *pods) Update(obj any) error {
	trimmed, err := trim(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
	s.put(trimmed.(*corev1.Pod))
	s.changes()
	return nil
}

// Delete forgets a pod.
func (s *pods) Delete(obj any) error {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("forget a pod: got a %T", obj)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
	s.drop(string(p.UID))
	delete(s.leftOut, string(p.UID))
	s.changes()
	return nil
}

// Replace takes all pods there are: the API server was heard.
func (s *pods) Replace(all []any, _ string) error {
	if err := s.replace(all); err != nil {
		return err
	}
	s.synced()
	return nil
}

func (s *pods) replace(all []any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byUID, s.leftOut, s.n = map[string]*entry{}, map[string]bool{}, 0
	for _, obj := range all {
		trimmed, err := trim(obj)
		if err != nil {
			return err
		}
		s.put(trimmed.(*corev1.Pod))
	}
	s.heard = time.Now()
	s.changes()
	return nil
}

// Resync has nothing to do.
func (s *pods) Resync() error { return nil }

func (s *pods) changes() {
	s.dirty = true
	s.wake()
}

// put keeps a pod if there is room. The lock is held.
func (s *pods) put(p *corev1.Pod) {
	uid := string(p.UID)
	s.drop(uid)
	if e, ok := entryOf(p); ok {
		s.keep(e)
	}
}

func (s *pods) keep(e *entry) {
	if s.n >= maxPods {
		if len(s.leftOut) < maxPods {
			s.leftOut[e.UID] = true
		}
		return
	}
	s.n++
	s.byUID[e.UID] = e
	if e.Mirror != "" && s.byUID[e.Mirror] == nil {
		s.byUID[e.Mirror] = e
	}
}

func (s *pods) drop(uid string) {
	e := s.byUID[uid]
	if e == nil || e.UID != uid {
		return
	}
	s.n--
	delete(s.byUID, uid)
	if s.byUID[e.Mirror] == e {
		delete(s.byUID, e.Mirror)
	}
}

// setStale notes whether the API server answers.
func (s *pods) setStale(stale bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !stale {
		s.heard = time.Now()
	}
	if s.stale != stale {
		s.stale = stale
		s.wake()
	}
}

// sizes for metrics.
func (s *pods) sizes() (n, leftOut int, stale bool, heard time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.n, len(s.leftOut), s.stale, s.heard
}
