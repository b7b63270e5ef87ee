package daemon

import (
	"errors"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/history"
	"github.com/eyas-agent/eyas/collectors/hostfs"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/kubelet"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// watchKubelet returns who follows kubelet's records on the node, whose root directory
// is root; memory may be nil. A
// history found damaged has been set aside by then: what it knew is lost.
func watchKubelet(c Config, root, boot string, memory *tracker.History, log zerolog.Logger) (*kubelet.Watcher, error) {
	o := kubelet.Options{Node: hostfs.Root{Path: root}, Root: c.KubeletRoot, Boot: boot, Log: log}
	if memory != nil {
		o.Memory = memory
	}
	w, err := kubelet.New(o)
	if errors.Is(err, history.ErrDamaged) {
		return w, nil
	}
	return w, err
}

// podsFirst is a tracker's memory that looks for a pod's record as soon as a
// user namespace is new: kubelet writes the one before the other is made, and
// the pod may be short-lived.
type podsFirst struct {
	tracker.Memory
	pods *kubelet.Watcher
}

func (p podsFirst) PutUserNS(r identity.UserNSRecord) {
	p.Memory.PutUserNS(r)
	if r.Level == 1 && !r.Gone {
		p.pods.Nudge()
	}
}
