package sources

import (
	"errors"
	"fmt"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/kubelet"
)

// kubeletPods reads the ranges that kubelet has given to pods and not taken
// back.
func (h Host) kubeletPods() ([]subid.Claim, error) {
	if h.Kubelet == "" {
		return nil, nil
	}
	pods, bad, err := kubelet.Read(h.Node, h.Kubelet)
	errs := []error{err}
	for _, b := range bad {
		errs = append(errs, fmt.Errorf("read the range of pod %s: parse %s: %w: delete the pod", quote(b.Pod), b.Path, b.Err))
	}
	var out []subid.Claim
	for _, pod := range pods {
		for _, r := range podRanges(pod) {
			out = append(out, subid.Claim{Range: r, Source: fmt.Sprintf("pod %s (%s)", quote(pod.Pod), pod.Path)})
		}
	}
	return out, errors.Join(errs...)
}

func podRanges(pod kubelet.Record) (out []subid.Range) {
	for i, e := range append([]identity.Extent(pod.UIDs), pod.GIDs...) {
		r := subid.Range{Start: e.Host, Count: e.Count}
		if i == 0 || r != out[0] { // kubelet gives the same for uids and gids
			out = append(out, r)
		}
	}
	return out
}
