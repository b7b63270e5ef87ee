package identity

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Pod is what Kubernetes calls an outermost container, and the pod it is of. Its
// text is an API server's: bounded by whoever fetched it, escaped by whoever
// prints it.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// Container is the name in the pod's specification; "": it has none, as what
	// holds a pod's namespaces, or is not known yet.
	Container string            `json:"container,omitempty"`
	Owner     *PodOwner         `json:"owner,omitempty"` // nil: nobody controls it
	Labels    map[string]string `json:"labels,omitempty"`
	// Stale: the API server does not answer, and this is what was last known of
	// it, at AsOf.
	Stale bool      `json:"stale,omitempty"`
	AsOf  time.Time `json:"as_of,omitzero"`
}

// Title is what people call a container of a pod: namespace/pod/container, or the
// namespace and the pod if it has no name of its own.
func (p *Pod) Title() string {
	if p.Container == "" {
		return p.Namespace + "/" + p.Name
	}
	return p.Namespace + "/" + p.Name + "/" + p.Container
}

// PodOwner is who controls a pod, such as a ReplicaSet.
type PodOwner struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// same reports whether both say the same, however old that is.
func (p *Pod) same(o *Pod) bool {
	return p.Namespace == o.Namespace && p.Name == o.Name && p.UID == o.UID && p.Container == o.Container &&
		(p.Owner == nil) == (o.Owner == nil) && (p.Owner == nil || *p.Owner == *o.Owner) && maps.Equal(p.Labels, o.Labels)
}

// PodLabels are the labels namespace, pod and container of series.
type PodLabels struct{ Namespace, Pod, Container string }

// With returns the labels, and more, as the values of a series.
func (l PodLabels) With(more ...string) []string {
	return append([]string{l.Namespace, l.Pod, l.Container}, more...)
}

// SetPod says what Kubernetes calls a live outermost container. It reports
// whether that is news: more than its age. p must not be changed afterwards.
func (t *Table) SetPod(c *Container, p *Pod) (news bool) {
	old := c.Pod
	c.Pod = p
	brief := *p
	brief.Labels = nil
	c.brief = &brief
	if old != nil && old.same(p) {
		return false
	}
	t.unlabel(c)
	t.label(c)
	return true
}

// Outermost returns the live outermost containers by their first sight.
func (t *Table) Outermost() []*Container {
	return t.some(func(c *Container) bool { return c.Parent == nil })
}

// Escaped returns the live containers that live outside the cgroup subtree of the
// container around them, by their first sight.
func (t *Table) Escaped() []*Container {
	return t.some(func(c *Container) bool { return c.Escaped })
}

func (t *Table) some(want func(*Container) bool) (all []*Container) {
	for _, c := range t.containers {
		if want(c) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Container) int {
		return cmp.Or(cmpUint(a.First, b.First), cmpString(a.ID, b.ID))
	})
	return all
}

// label gives c the labels of its pod. No two live containers have the same: of
// two that Kubernetes knows by one name the younger has it if the runtime made it
// anew, for that is a restart and the other is about to end; else, as where a
// container's processes share the node's pid namespace, the first.
func (t *Table) label(c *Container) {
	l := PodLabels{c.Pod.Namespace, c.Pod.Name, c.Pod.Container}
	if l.Container == "" {
		l.Container = c.unnamed()
	}
	if other := t.labelled[l]; other != nil && other != c {
		if other.Name.ID == c.Name.ID || other.First > c.First {
			l.Container = c.unnamed()
		} else {
			other.labels.Container = other.unnamed()
			t.labelled[other.labels] = other
		}
	}
	c.labels = l
	t.labelled[l] = c
}

// unnamed is the label of a container of a pod that has no name in it, or shares it:
// no container's name begins like that.
func (c *Container) unnamed() string { return "_" + c.ID }

func (t *Table) unlabel(c *Container) {
	if t.labelled[c.labels] == c {
		delete(t.labelled, c.labels)
	}
	c.labels = PodLabels{}
}

// PodLabels returns the labels of a container's series, given the id of the
// outermost one around it, or its own: Kubernetes' names for that one, else no
// namespace, no pod, and the id.
func (t *Table) PodLabels(outermost string) PodLabels {
	if c := t.containers[outermost]; c != nil && c.labels != (PodLabels{}) {
		return c.labels
	}
	return PodLabels{Container: outermost}
}
