// Package overlay tells what the layered file system costs each container: how
// much is read and written through it, what is copied up, and how long it takes.
//
// What enters: the kernel's rows, the identity table, and of containers that use
// overlays the mountinfo and the free space of their root. What leaves:
// Prometheus series. It changes nothing but the kernel's map, from which it takes rows that
// rest. To see that the programs run, a child mounts an overlay in memory, in a mount
// namespace of its own, for a moment; see Drive.
package overlay

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Source is the kernel's counting; *bpf.OverlayMonitor is one.
type Source interface {
	Rows() (map[bpf.OverlayKey]bpf.Overlay, error)
	Take(bpf.OverlayKey) (bpf.Overlay, error)
	Capacity() int
	Attached() bool
	Attach()
	AttachFuse()
	Missing(reason string)
	SelfTest(bpf.Drive)
	Hooks() []bpf.Hook
}

// Table gives a view of the identity table.
type Table interface {
	View(f func(table *identity.Table, zombies map[string]int))
}

// Options of a Collector.
type Options struct {
	Source    Source
	Table     Table
	MaxNested int           // nested containers with series, per outermost one; default 50
	Every     time.Duration // between looks for overlay and for rows that rest; default 30 s
	Proc      string        // where procfs is; default /proc
	Drive     bpf.Drive     // for the self-test; default Drive
	Log       zerolog.Logger
}

// Collector is a prometheus.Collector; safe for concurrent use.
type Collector struct {
	o      Options
	mu     sync.Mutex
	taken  map[string]totals // by container: what rows held that are not in the kernel any more
	nested *fold.Series[totals]
	owners map[bpf.OverlayKey]string // whose the rows were at the last look
	rests  map[bpf.OverlayKey]rest
	users  map[string]bool // containers that use overlays, at the last sweep
	roots  map[string]root // by container
	look   func(proc string, init identity.ProcessKey) (root, bool, error)
	stuck  atomic.Int32 // looks at roots that do not come back
	said   string       // what was last logged of the hooks
	fuse   bool         // those of fuse-overlayfs were tried
}

// New returns a Collector; Run attaches its programs.
func New(o Options) *Collector {
	if o.Every <= 0 {
		o.Every = 30 * time.Second
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.Drive == nil {
		o.Drive = Drive
	}
	return &Collector{o: o, taken: map[string]totals{}, nested: fold.New(o.MaxNested, (*totals).add), rests: map[bpf.OverlayKey]rest{}, look: lookAtRoot}
}

// Run attaches the programs as soon as the kernel has overlay, takes rows that
// rest, and looks how full the upper layers are, until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	tick := time.NewTicker(c.o.Every)
	defer tick.Stop()
	for {
		c.attach()
		c.attachFuse()
		if err := c.sweep(time.Now()); err != nil {
			c.o.Log.Error().Err(err).Msg("look for rows that rest")
		}
		c.lookAtRoots(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// attach tries until it has succeeded or been refused by a kernel with overlay.
func (c *Collector) attach() {
	switch {
	case c.said != "" && c.said != ErrNotLoaded.Error():
		return
	case !Loaded(c.o.Proc):
		c.o.Source.Missing(ErrNotLoaded.Error())
		c.say(ErrNotLoaded.Error(), zerolog.InfoLevel, nil)
		return
	}
	c.o.Source.Attach()
	if c.o.Source.Attached() {
		c.o.Source.SelfTest(c.o.Drive)
	}
	poor := c.poor(false)
	if len(poor) == 0 {
		c.say("overlay hooks work", zerolog.DebugLevel, nil)
	}
	for why, names := range poor {
		c.say(why, zerolog.WarnLevel, names)
	}
}

// attachFuse tries once, when the kernel has FUSE.
func (c *Collector) attachFuse() {
	if c.fuse || !loaded(c.o.Proc, "fuse") {
		return
	}
	c.fuse = true
	c.o.Source.AttachFuse()
	for why, names := range c.poor(true) {
		c.o.Log.Warn().Strs("hooks", names).Str("reason", why).Msg("fuse-overlayfs hooks")
	}
}

// poor are the hooks of overlay, or of fuse-overlayfs, that do not tell, by why.
func (c *Collector) poor(fuse bool) map[string][]string {
	poor := map[string][]string{}
	for _, h := range c.o.Source.Hooks() {
		if h.State != bpf.HookActive && !h.Rare && strings.HasPrefix(h.Name, bpf.FuseHooks) == fuse {
			why := string(h.State) + ": " + h.Reason
			poor[why] = append(poor[why], h.Name)
		}
	}
	return poor
}

func (c *Collector) say(why string, level zerolog.Level, hooks []string) {
	if why != c.said {
		c.o.Log.WithLevel(level).Strs("hooks", hooks).Str("reason", why).Msg("overlay hooks")
	}
	c.said = why
}
