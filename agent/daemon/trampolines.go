package daemon

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/denials"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/overlay"
	"github.com/eyas-agent/eyas/collectors/self"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// trampolines are the collectors that need programs on functions of the kernel.
// What is nil cannot be done here, which costs its series alone.
type trampolines struct {
	overlayHooks *bpf.OverlayMonitor
	overlays     *overlay.Collector
	denialHooks  *bpf.DenialMonitor
	denials      *denials.Collector
	logs         *logFamily // nil: nobody's are told, or they cannot be here
}

func openTrampolines(c Config, version string, t *tracker.Tracker, node identity.Node, clock identity.Clock, cgroups string, log zerolog.Logger) (*trampolines, error) {
	a := &trampolines{}
	var err error
	if a.logs, err = openLogs(c, version, t, node, clock, log.With().Str("room", "logs").Logger()); err != nil {
		return nil, err
	}
	overlayLog := log.With().Str("room", "overlay").Logger()
	if m, err := bpf.OpenOverlay(bpf.OverlayOptions{}); err != nil {
		overlayLog.Error().Err(err).Msg("what overlays do cannot be counted here")
	} else {
		a.overlayHooks = m
		a.overlays = overlay.New(overlay.Options{
			Source: m, Table: t, MaxNested: c.MaxNestedSeries, Every: c.ReconcileInterval, Proc: c.ProcRoot, Log: overlayLog,
		})
	}
	if !c.Denials {
		return a, nil
	}
	denialLog := log.With().Str("room", "denials").Logger()
	if m, err := bpf.OpenDenials(bpf.DenialOptions{}); err != nil {
		denialLog.Error().Err(err).Msg("what is refused cannot be told here")
	} else {
		a.denialHooks = m
		a.denials = denials.New(denials.Options{
			Source: m, Table: t, Clock: clock, MaxNested: c.MaxNestedSeries, Drive: denials.Drive(driveProcess, cgroups), Seccomp: c.Seccomp, Log: denialLog,
		})
	}
	return a, nil
}

// hooks are all of the agent's.
func (a *trampolines) hooks(m *bpf.Monitor) []bpf.Hook {
	all := m.Hooks()
	for _, more := range a.more() {
		all = append(all, more.Hooks()...)
	}
	return all
}

func (a *trampolines) more() map[string]self.Hooked {
	more := map[string]self.Hooked{}
	if a.overlayHooks != nil {
		more["overlays"] = a.overlayHooks
	}
	if a.denialHooks != nil {
		more["denials"] = a.denialHooks
	}
	if a.logs != nil {
		more["logs"] = a.logs
	}
	return more
}

func (a *trampolines) collectors(about self.Options) []prometheus.Collector {
	about.More = a.more()
	all := []prometheus.Collector{self.New(about)}
	if a.overlays != nil {
		all = append(all, a.overlays)
	}
	if a.denials != nil {
		all = append(all, a.denials)
	}
	if a.logs != nil {
		all = append(all, a.logs.collectors()...)
	}
	return all
}

// run starts what there is; ready is when the first snapshot is taken.
func (a *trampolines) run(start func(name string, f func(context.Context) error), ready <-chan struct{}) {
	if a.overlays != nil {
		start("overlay", a.overlays.Run)
	}
	if a.denials != nil {
		start("denials", a.denials.Run)
	}
	if a.logs != nil {
		start("logs", func(ctx context.Context) error { return a.logs.run(ctx, ready) })
		start("logs-output", a.logs.runOutput)
		start("otlp", a.logs.runOTLP)
	}
}

// answer gives those who answer questions what they ask.
func (a *trampolines) answer(ask *answers.Answers, plugin *nri.Plugin) {
	if a.denials != nil {
		ask.Refusals = a.denials
	}
	if a.logs != nil {
		ask.Logs = a.logs.lines
		if plugin != nil { // says which pods ask for their logs
			plugin.ChooseLogs(a.logs.lines)
		}
	}
}

func (a *trampolines) close() error {
	var errs []error
	if a.overlayHooks != nil {
		errs = append(errs, a.overlayHooks.Close())
	}
	if a.denialHooks != nil {
		errs = append(errs, a.denialHooks.Close())
	}
	if a.logs != nil {
		errs = append(errs, a.logs.close())
	}
	return errors.Join(errs...)
}
