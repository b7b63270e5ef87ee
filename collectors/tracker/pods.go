package tracker

import (
	"context"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// Pods is what Kubernetes knows of this node's pods. It is called with the
// table's lock held: no call may block.
type Pods interface {
	// Pod finds a pod by its uid, and in it a container by the runtime's id; what
	// the pod does not have under that id has no name.
	Pod(uid, container string) (identity.Pod, bool)
	// Changed has one when Pod may answer otherwise than before.
	Changed() <-chan struct{}
	// Escaped hears once of each container that was found outside the cgroup
	// subtree of the container around it, and whose pod is known. All but pod is
	// raw and hostile.
	Escaped(pod identity.Pod, chain []string, cgroup string)
}

// podsRest is the least time between two rounds: whoever starts a hundred pods
// costs a few.
const podsRest = 250 * time.Millisecond

// RunPods joins what Kubernetes knows with the table until ctx ends.
func (t *Tracker) RunPods(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.o.Pods.Changed():
		case <-t.wantPods:
		}
		t.joinPods()
		rest := time.NewTimer(podsRest)
		select {
		case <-ctx.Done():
			rest.Stop()
			return nil
		case <-rest.C:
		}
	}
}

// wakePods has the next round come soon. It never blocks.
func (t *Tracker) wakePods() {
	select {
	case t.wantPods <- struct{}{}:
	default:
	}
}

// joinPods gives every outermost container its pod. What Kubernetes knows no more
// stays as it was last known: the pod is deleted, and its containers are ending.
func (t *Tracker) joinPods() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.o.Table.Outermost() {
		uid, id := podOf(c)
		if uid == "" {
			continue
		}
		p, ok := t.o.Pods.Pod(uid, id)
		if !ok {
			continue
		}
		if t.o.Table.SetPod(c, &p) && t.o.Memory != nil {
			t.o.Memory.PutContainer(c.Record(t.o.Clock))
		}
	}
	t.tellEscapes()
}

// tellEscapes tells of those that were not told of. The lock is held.
func (t *Tracker) tellEscapes() {
	for id := range t.escaped {
		if t.o.Table.Container(id) == nil {
			delete(t.escaped, id)
		}
	}
	for _, c := range t.o.Table.Escaped() {
		pod := c.Outer().Pod
		if pod == nil || t.escaped[c.ID] {
			continue
		}
		t.escaped[c.ID] = true
		var chain []string
		for _, x := range c.Chain() {
			chain = append(chain, x.DisplayName())
		}
		t.o.Pods.Escaped(*pod, chain, c.Cgroup)
	}
}

// podOf returns a pod's uid and a container's id as the node's own part of the
// cgroup path has them. A path that says nothing is one of a hybrid node, where
// the namer has looked at those of cgroup v1.
func podOf(c *identity.Container) (uid, container string) {
	if c.Cgroup == "" || c.Cgroup == "/" {
		return c.Name.PodUID, c.Name.ID
	}
	return evidence.PodContainer(c.Cgroup)
}
