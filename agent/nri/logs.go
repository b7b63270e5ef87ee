package nri

import (
	"context"

	"github.com/containerd/nri/pkg/api"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/logs"
)

// LogChooser hears of which pods containers are, and which of them ask for their logs;
// *logs.Collector is one.
type LogChooser interface {
	SetPod(ctx context.Context, p logs.Pod) error
	DropPod(containerID string)
	KeepPods(containerIDs map[string]bool)
}

// ChooseLogs is to be called before Run, if at all.
func (p *Plugin) ChooseLogs(l LogChooser) { p.o.Logs = l }

// podLogs tells of a container that starts, or runs already. Its program does not begin
// before the answer, which waits no longer than any: what is late is seen to by and by.
func (p *Plugin) podLogs(ctx context.Context, pod *api.PodSandbox, c *api.Container) {
	if p.o.Logs == nil {
		return
	}
	x := logs.Pod{
		Namespace: clean(pod.GetNamespace()), Name: clean(pod.GetName()), UID: clean(pod.GetUid()),
		Container: clean(c.GetName()), ContainerID: clean(c.GetId()), PID: identity.HostPID(c.GetPid()),
	}
	if text, ok := pod.GetAnnotations()[logs.Annotation]; ok {
		var err error
		if x.Logs, err = logs.ParseAnnotation(text); err != nil {
			p.refuseLogs(pod, text, err)
		}
	}
	// The rest of the time is for what prepares a sandbox.
	p.mu.Lock()
	share := p.deadline / 4
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	_, err := within(ctx, p, func(ctx context.Context) (struct{}, error) { return struct{}{}, p.o.Logs.SetPod(ctx, x) }, nil)
	if err != nil {
		p.event(zerolog.WarnLevel, pod, c).Err(err).Msg("the first lines of a container may be missing in its logs")
	}
}

// refuseLogs says once for each pod that its annotation is no choice.
func (p *Plugin) refuseLogs(pod *api.PodSandbox, text string, err error) {
	p.mu.Lock()
	known := p.refusedLogs[pod.GetId()]
	if len(p.refusedLogs) >= maxRefused {
		clear(p.refusedLogs)
	}
	p.refusedLogs[pod.GetId()] = true
	p.mu.Unlock()
	if !known {
		p.podEvent(zerolog.WarnLevel, pod).Str("annotation", logs.Annotation).Str("got", quote(text)).AnErr("want", err).
			Msg("a pod's annotation is refused: its logs are told as if it had none")
	}
}

// maxRefused bounds the pods that are remembered for a refused annotation.
const maxRefused = 4096

// dropLogs forgets a container that is removed.
func (p *Plugin) dropLogs(c *api.Container) {
	if p.o.Logs != nil {
		p.o.Logs.DropPod(clean(c.GetId()))
	}
}

// allLogs tells of the containers that run when the runtime is met.
func (p *Plugin) allLogs(ctx context.Context, pods []*api.PodSandbox, cs []*api.Container) {
	byID := map[string]*api.PodSandbox{}
	for _, pod := range pods {
		byID[pod.GetId()] = pod
	}
	if p.o.Logs == nil {
		return
	}
	there := map[string]bool{}
	for _, c := range cs {
		there[clean(c.GetId())] = true
	}
	p.o.Logs.KeepPods(there)
	for _, c := range cs {
		if c.GetState() != api.ContainerState_CONTAINER_STOPPED && ctx.Err() == nil {
			p.podLogs(ctx, byID[c.GetPodSandboxId()], c)
		}
	}
}
