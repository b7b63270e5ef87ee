package daemon

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/processes"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// numbers lets answers tell what the series are made of. Counting begins now.
func numbers(counts *processes.Collector, deep *trampolines) *answers.Numbers {
	n := &answers.Numbers{Since: time.Now().UTC(), Processes: counts}
	if deep.overlays != nil {
		n.Overlay = deep.overlays
	}
	if deep.denials != nil {
		n.Denials = deep.denials
	}
	return n
}

func openCgroups(c Config, h *cgroups.Hierarchy, t *tracker.Tracker, log zerolog.Logger) *cgroups.Collector {
	return cgroups.New(cgroups.Options{
		Reader: h, Table: t, MaxNested: c.MaxNestedSeries, Log: log.With().Str("room", "cgroups").Logger(),
	})
}
