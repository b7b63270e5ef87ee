package command

import (
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// podName tells what Kubernetes knows of a pod, in a line that is yet to be escaped.
func podName(p *identity.Pod) string {
	s := p.Namespace + "/" + p.Name
	if p.Container != "" {
		s += ", container " + p.Container
	}
	if p.Owner != nil {
		s += ", of " + p.Owner.Kind + " " + p.Owner.Name
	}
	if p.Stale {
		s += ", as last known"
		if !p.AsOf.IsZero() {
			s += " at " + p.AsOf.UTC().Format(time.RFC3339)
		}
		s += ": the API server does not answer"
	}
	return s
}
