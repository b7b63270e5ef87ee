package daemon

import (
	"context"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/tracker"
	"github.com/eyas-agent/eyas/exporter/api"
)

// readHealth says how the agent fares, for the query API and for doctor. plugin
// may be nil.
func readHealth(hooks []bpf.Hook, t *tracker.Tracker, plugin *nri.Plugin, every time.Duration, boundary *nsdelegate) api.Health {
	s := t.Stats()
	h := api.Health{Hooks: []api.Hook{}, LastReconcile: s.LastReconcile, ReconcileInterval: max(every, s.Rest), Drift: s.Drift, NSDelegate: boundary.state()}
	for _, k := range hooks {
		h.Hooks = append(h.Hooks, api.Hook{
			Name: k.Name, Target: k.Target, State: string(k.State), Reason: k.Reason, Loss: k.Loss, Lost: k.Lost, Rare: k.Rare,
		})
	}
	if plugin != nil {
		r := plugin.State()
		h.Runtime = &r
	}
	return h
}

// gate holds queries back until the first snapshot is taken.
func gate(ready <-chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ready:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// runChecks begins after the first snapshot, so as not to delay it.
func runChecks(ctx context.Context, ready <-chan struct{}, c *doctor.Collector) error {
	select {
	case <-ready:
		return c.Run(ctx, doctor.Every)
	case <-ctx.Done():
		return nil
	}
}

func logHooks(m *bpf.Monitor, log zerolog.Logger) {
	for _, h := range m.Hooks() {
		switch {
		case h.State == bpf.HookActive && h.Reason == "":
			log.Debug().Str("hook", h.Name).Str("target", h.Target).Msg("hook works")
		case h.State == bpf.HookUnproven && h.Rare:
			log.Debug().Str("hook", h.Name).Str("target", h.Target).Msg("hook waits for the first OOM kill")
		default:
			log.Warn().Str("hook", h.Name).Str("target", h.Target).Str("state", string(h.State)).
				Str("reason", h.Reason).Str("without_it", h.Loss).Msg("hook does not work here")
		}
	}
}
