package daemon

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/overlay"
	"github.com/eyas-agent/eyas/collectors/self"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// overlays counts what overlays do. nil: that cannot be done here, which costs
// those series alone.
type overlays struct {
	monitor   *bpf.OverlayMonitor
	collector *overlay.Collector
}

func openOverlays(c Config, t *tracker.Tracker, log zerolog.Logger) *overlays {
	log = log.With().Str("room", "overlay").Logger()
	m, err := bpf.OpenOverlay(bpf.OverlayOptions{})
	if err != nil {
		log.Error().Err(err).Msg("what overlays do cannot be counted here")
		return nil
	}
	return &overlays{m, overlay.New(overlay.Options{
		Source: m, Table: t, MaxNested: c.MaxNestedSeries, Every: c.ReconcileInterval, Proc: c.ProcRoot, Log: log,
	})}
}

// hooks are all of the agent's.
func (o *overlays) hooks(m *bpf.Monitor) []bpf.Hook {
	if o == nil {
		return m.Hooks()
	}
	return append(m.Hooks(), o.monitor.Hooks()...)
}

func (o *overlays) collectors(about self.Options) []prometheus.Collector {
	if o == nil {
		return []prometheus.Collector{self.New(about)}
	}
	about.Overlay = o.monitor
	return []prometheus.Collector{self.New(about), o.collector}
}

func (o *overlays) run(ctx context.Context) error {
	if o == nil {
		return nil
	}
	return o.collector.Run(ctx)
}

func (o *overlays) close() error {
	if o == nil {
		return nil
	}
	return o.monitor.Close()
}
