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
func numbers(counts *processes.Collector, layered *overlays) *answers.Numbers {
	n := &answers.Numbers{Since: time.Now().UTC(), Processes: counts}
	if layered != nil {
		n.Overlay = layered.collector
	}
	return n
}

func openCgroups(c Config, h *cgroups.Hierarchy, t *tracker.Tracker, log zerolog.Logger) *cgroups.Collector {
	return cgroups.New(cgroups.Options{
		Reader: h, Table: t, MaxNested: c.MaxNestedSeries, Log: log.With().Str("room", "cgroups").Logger(),
	})
}
