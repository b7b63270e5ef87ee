package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/exporter/api"
)

// lookForNSDelegate is the time between two looks. A poll(2) of mountinfo would
// not do: it wakes for a remount in the mount namespace polled, but not when
// another one mounts or remounts cgroup2, and that is where containers live.
const lookForNSDelegate = 15 * time.Second

// nsdelegate follows a flag of the one superblock of cgroup2, that whoever may
// mount it in the host's cgroup namespace can strip from the whole node. Without it
// a container with a writable cgroup mount can lift its own limits.
type nsdelegate struct {
	read    func() (delegation.MountOptions, error)
	changed func() // after the first look
	log     zerolog.Logger

	mu   sync.Mutex
	last *api.Flag // nil: it could not be read
}

// run looks at once and every interval, until ctx ends.
func (w *nsdelegate) run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failed := false
	for first := true; ; first = false {
		failed = w.look(first, failed)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the flag once, and tells what is new. It reports whether the flag
// could not be read.
func (w *nsdelegate) look(first, failed bool) bool {
	m, err := w.read()
	if err != nil {
		if w.set(nil); !failed {
			w.log.Warn().Err(err).Msg("whether cgroup2 has nsdelegate cannot be read")
		}
		return true
	}
	was := w.state()
	if was != nil && was.On == m.NSDelegate {
		return false
	}
	w.set(&api.Flag{On: m.NSDelegate, Since: time.Now().UTC()})
	switch {
	case m.NSDelegate && first:
		w.log.Debug().Str("mount", m.MountPoint).Msg("cgroup2 has nsdelegate")
	case m.NSDelegate:
		w.log.Info().Str("mount", m.MountPoint).Msg("cgroup2 has nsdelegate again: limits hold for containers with a writable cgroup mount")
	default:
		msg := "cgroup2 lost nsdelegate: a container with a writable cgroup mount can now lift its own limits; find out who stripped it: a privileged container, or dockerd"
		if was == nil {
			msg = "cgroup2 lacks nsdelegate: a container with a writable cgroup mount can lift its own limits"
		}
		w.log.Warn().Str("mount", m.MountPoint).
			Str("fix", "mount -o remount,nsdelegate,memory_recursiveprot "+m.MountPoint).Msg(msg)
	}
	if !first {
		w.changed()
	}
	return false
}

func (w *nsdelegate) set(f *api.Flag) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = f
}

// state is what was seen last, and since when; nil: it is not known.
func (w *nsdelegate) state() *api.Flag {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

var descNSDelegate = prometheus.NewDesc("eyas_cgroup_nsdelegate",
	"1 while the node's cgroup2 has nsdelegate, 0 while it lacks it: then a container with a writable cgroup mount can lift its own limits.", nil, nil)

// Describe implements prometheus.Collector.
func (w *nsdelegate) Describe(ch chan<- *prometheus.Desc) { ch <- descNSDelegate }

// Collect implements prometheus.Collector.
func (w *nsdelegate) Collect(ch chan<- prometheus.Metric) {
	f := w.state()
	if f == nil {
		return
	}
	v := 0.0
	if f.On {
		v = 1
	}
	ch <- prometheus.MustNewConstMetric(descNSDelegate, prometheus.GaugeValue, v)
}
