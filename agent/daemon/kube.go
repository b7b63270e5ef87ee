package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/agent/kube"
	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// cluster is what the agent has of Kubernetes; a nil one has nothing, and all its
// methods do nothing.
type cluster struct{ *kube.Kube }

// openKube returns nil where there is no Kubernetes, or is to be none.
func openKube(c Config, version string, log zerolog.Logger) (*cluster, error) {
	if c.Kube == kube.Off {
		return nil, nil
	}
	log = log.With().Str("room", "kube").Logger()
	k, err := kube.New(kube.Options{Kubeconfig: c.Kubeconfig, Node: c.nodeName(), Dir: c.StateDir, Version: version, Log: log})
	switch {
	case err == nil:
		return &cluster{k}, nil
	case c.Kube == kube.On:
		return nil, fmt.Errorf("speak with Kubernetes (key kube: on): %w", err)
	case errors.Is(err, kube.ErrNone):
		log.Debug().Err(err).Msg("works without Kubernetes")
	default:
		log.Error().Err(err).Msg("works without Kubernetes: pods have no names, and nothing is told to it")
	}
	return nil, nil
}

// nodeName is this node's name in Kubernetes; "": nobody says.
func (c *Config) nodeName() string {
	if c.NodeName != "" {
		return c.NodeName
	}
	return os.Getenv("NODE_NAME")
}

// nodeName takes what may be a node's name: an RFC 1123 subdomain.
func nodeName(s string) error {
	if s != "" && (len(s) > 253 || !only(s, 253, lower+digits+"-.")) {
		return errors.New("want the node's name as Kubernetes has it, or nothing")
	}
	return nil
}

// names is what the tracker asks; nil: nobody.
func (k *cluster) names() tracker.Pods {
	if k == nil {
		return nil
	}
	return k.Kube
}

// run starts what there is.
func (k *cluster) run(start func(name string, f func(context.Context) error), t *tracker.Tracker) {
	if k != nil {
		start("kube", k.Run)
		start("pods", t.RunPods)
	}
}

func (k *cluster) collectors() []prometheus.Collector {
	if k == nil {
		return nil
	}
	return []prometheus.Collector{k.Kube}
}

// reasons are those of Events, by what the plugin tells.
var reasons = map[nri.What]string{
	nri.Prepared: kube.Prepared, nri.Unprepared: kube.Unprepared, nri.Refused: kube.Refused, nri.PoolDry: kube.PoolDry,
}

// tell is what the plugin tells of sandboxes; nil: to nobody.
func (k *cluster) tell() func(nri.Outcome) {
	if k == nil {
		return nil
	}
	return func(o nri.Outcome) {
		k.Tell(kube.Outcome{
			Namespace: o.Namespace, Pod: o.Pod, UID: o.PodUID, Container: o.Container, Reason: reasons[o.What], Message: o.Message,
		})
	}
}

// follow has the node's condition say what the checks find.
func (k *cluster) follow(checks *doctor.Collector) {
	if k != nil {
		checks.Told = func(all []doctor.Result) { k.SetVerdict(verdict(all)) }
	}
}

// verdict sums checks up. A warning is no reason to keep pods away.
func verdict(all []doctor.Result) kube.Verdict {
	ids := map[doctor.State][]string{}
	for _, r := range all {
		ids[r.State] = append(ids[r.State], r.ID)
	}
	var parts []string
	for _, s := range []doctor.State{doctor.Fail, doctor.Warn, doctor.Unknown} {
		if len(ids[s]) > 0 {
			parts = append(parts, fmt.Sprintf("%s: %s", s, strings.Join(ids[s], ", ")))
		}
	}
	fit := len(ids[doctor.Fail]) == 0
	v := kube.Verdict{Fit: &fit, Reason: "ChecksPass", Message: fmt.Sprintf("all %d checks are fine", len(all))}
	switch {
	case !fit:
		v.Reason = "ChecksFail"
	case len(parts) > 0:
		v.Reason = "ChecksWarn"
	}
	if len(parts) > 0 {
		v.Message = strings.Join(parts, "; ") + "; see eyas doctor node there"
	}
	return v
}
