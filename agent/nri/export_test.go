package nri

import (
	"testing"
)

// NewRig is for tests that have to be outside of the package.
func NewRig(t testing.TB, o func(*Options)) *rig { return newRig(t, o) }

// FailAll makes all preparations fail.
func (r *rig) FailAll(err error) { r.fail = err }

// Create has the runtime create a container of a new pod.
func (r *rig) Create(namespace, handler, annotation, id string) error {
	p := pod(annotation)
	p.Id, p.Namespace, p.RuntimeHandler = "pod-of-"+id, namespace, handler
	_, err := r.create(p, container(id))
	return err
}

// Calls are what the preparer was asked for.
func (r *rig) Calls() []string { return r.calls }
