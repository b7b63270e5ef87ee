package nri

import (
	"errors"

	"github.com/containerd/nri/pkg/api"

	"github.com/eyas-agent/eyas/agent/subid"
)

// What became of a sandbox.
type What string

// Prepared has what its profile says; Unprepared runs, or would, without; PoolDry
// does because no ids are left; Refused is of a pod whose annotation is no choice.
const (
	Prepared   What = "prepared"
	Unprepared What = "unprepared"
	PoolDry    What = "pool-dry"
	Refused    What = "refused"
)

// Outcome is told once of each sandbox, and again when it changes.
type Outcome struct {
	What                   What
	Namespace, Pod, PodUID string
	Container              string // "": of all of the pod's
	Message                string // for people
}

// tell tells an outcome; c is nil if it is of the whole pod.
func (p *Plugin) tell(what What, pod *api.PodSandbox, c *api.Container, message string) {
	if p.o.Told == nil {
		return
	}
	p.o.Told(Outcome{
		What: what, Namespace: clean(pod.GetNamespace()), Pod: clean(pod.GetName()), PodUID: clean(pod.GetUid()),
		Container: clean(c.GetName()), Message: message,
	})
}

func (p *Plugin) tellUnprepared(pod *api.PodSandbox, c *api.Container, err error) {
	what := Unprepared
	var dry *subid.DryError
	if errors.As(err, &dry) {
		what = PoolDry
	}
	p.tell(what, pod, c, "containers inside it lack ids, a cgroup of their own, or both: "+err.Error())
}
