package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Bounds of what is kept of a pod, and of a node. An API server has bounds of its
// own for names; what is longer is not one.
const (
	maxPods       = 4096 // of a node: kubelet's own bound is in the hundreds
	maxContainers = 256  // of a pod, with those that ran before
	maxLabels     = 64
	maxLabelBytes = 4 << 10
	maxName       = 253 // RFC 1123 subdomain
)

// mirrorAnnotation has the uid that kubelet itself gave a static pod: its cgroups
// are named by that one, not by the uid that the API server knows.
const mirrorAnnotation = corev1.MirrorPodAnnotationKey

// trim keeps of a pod what entryOf reads. It is what a list of pods is cut down to
// before the next one comes in.
func trim(obj any) (any, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("trim a pod: got a %T", obj)
	}
	out := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion, Labels: trimLabels(p.Labels),
	}}
	if id, ok := p.Annotations[mirrorAnnotation]; ok && len(id) <= maxName {
		out.Annotations = map[string]string{mirrorAnnotation: id}
	}
	if o := metav1.GetControllerOfNoCopy(p); o != nil {
		yes := true
		out.OwnerReferences = []metav1.OwnerReference{{Kind: o.Kind, Name: o.Name, Controller: &yes}}
	}
	left := maxContainers
	for _, all := range [][]corev1.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for _, s := range all {
			for _, id := range containerIDs(s) {
				if left--; left < 0 {
					return out, nil
				}
				out.Status.ContainerStatuses = append(out.Status.ContainerStatuses, corev1.ContainerStatus{Name: s.Name, ContainerID: id})
			}
		}
	}
	return out, nil
}

// containerIDs are the ids that the runtime gave a container now, and before it
// was last restarted: that one may be ending.
func containerIDs(s corev1.ContainerStatus) (ids []string) {
	for _, state := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
		if state != nil && state.ContainerID != "" {
			ids = append(ids, state.ContainerID)
		}
	}
	if s.ContainerID != "" && !slices.Contains(ids, s.ContainerID) {
		ids = append(ids, s.ContainerID)
	}
	return ids
}

// trimLabels keeps as many labels as may be, in their order.
func trimLabels(in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out, bytes := map[string]string{}, 0
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if bytes += len(k) + len(in[k]); len(out) == maxLabels || bytes > maxLabelBytes {
			break
		}
		out[k] = in[k]
	}
	return out
}

// entry is a pod as it is kept.
type entry struct {
	identity.Pod
	Mirror     string            `json:"mirror,omitempty"`     // uid of a static pod on the node
	Containers map[string]string `json:"containers,omitempty"` // name by the runtime's id
}

// entryOf reads a pod, trimmed or not. false: it has no uid or name that can be one.
func entryOf(p *corev1.Pod) (*entry, bool) {
	e := &entry{Pod: identity.Pod{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Labels: trimLabels(p.Labels),
	}, Mirror: p.Annotations[mirrorAnnotation]}
	if o := metav1.GetControllerOfNoCopy(p); o != nil && len(o.Kind) <= maxName && len(o.Name) <= maxName {
		e.Owner = &identity.PodOwner{Kind: o.Kind, Name: o.Name}
	}
	for _, s := range p.Status.ContainerStatuses {
		// The scheme is the runtime's name: containerd://ID.
		if _, id, ok := strings.Cut(s.ContainerID, "://"); ok && id != "" {
			if e.Containers == nil {
				e.Containers = map[string]string{}
			}
			e.Containers[id] = s.Name
		}
	}
	return e, e.valid()
}

// valid reports whether an entry, maybe from a file, keeps the bounds.
func (e *entry) valid() bool {
	for _, s := range []string{e.Namespace, e.Name, e.UID} {
		if s == "" || len(s) > maxName {
			return false
		}
	}
	if len(e.Mirror) > maxName || len(e.Containers) > maxContainers || len(e.Labels) > maxLabels {
		return false
	}
	for id, name := range e.Containers {
		// "_" begins the label of containers without a name.
		if len(id) > maxName || name == "" || len(name) > maxName || name[0] == '_' {
			return false
		}
	}
	return true
}
