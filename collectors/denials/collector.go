// Package denials tells what nested processes were refused, and why.
//
// What enters: the kernel's rows, and the identity table. What leaves: Prometheus
// series, and records of the kinds of refusals each container met, also for a
// day after it is gone. It changes nothing but the kernel's map, from which it
// takes rows that rest. To see that the programs run, a child makes the calls
// that they are on, in namespaces of its own; see Drive.
package denials

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Source is the kernel's telling; *bpf.DenialMonitor is one.
type Source interface {
	Rows() (map[bpf.DenialKey]bpf.Denial, error)
	Of(pid uint32) (map[bpf.DenialProcess]bpf.Denial, error)
	Take(bpf.DenialKey) (bpf.Denial, error)
	Capacity() int
	Attached() bool
	Attach()
	SelfTest(bpf.Drive)
	Hooks() []bpf.Hook
	AttachSeccomp(bpf.Drive)
	StartTrace(bpf.Drive) error
	StopTrace() error
	Traces() []bpf.Hook
}

// Table gives a view of the identity table.
type Table interface {
	View(f func(table *identity.Table, zombies map[string]int))
}

// Options of a Collector.
type Options struct {
	Source    Source
	Table     Table
	Clock     identity.Clock
	MaxNested int           // nested containers with series, per outermost one; default 50
	Every     time.Duration // between looks at the kernel's rows; default 1 s
	Drive     bpf.Drive     // for the self-test; see Drive
	Seccomp   bool          // also tell what seccomp filters refuse, which costs every call under one
	Log       zerolog.Logger
}

// Bounds of what is remembered.
const (
	maxKinds      = 256            // of refusals, per container
	maxContainers = 1000           // that are gone
	keepGone      = 24 * time.Hour // how long those are remembered
	restAfter     = time.Minute    // how long a row may rest in the kernel
	goneAfter     = 10 * time.Second
)

// kind is what refusals are counted by.
type kind struct {
	op     bpf.DenialOp
	errno  uint16
	cause  bpf.DenialCause
	detail uint16
}

// container is what one container met.
type container struct {
	kinds map[kind]*identity.DenialRecord
	other uint64    // beyond maxKinds
	gone  time.Time // zero: it lives
}

// seen is how far a row of the kernel's has been taken over.
type seen struct {
	count uint64
	since time.Time // it has been so
	blank bool      // who was refused last could not be read: it was being written
}

// Collector is a prometheus.Collector; safe for concurrent use.
type Collector struct {
	o          Options
	mu         sync.Mutex
	containers map[string]*container
	rows       map[bpf.DenialKey]seen
	nested     *fold.Series[causes]
	fresh      map[string]bool // live containers whose counts grew since they were placed
	blind      string          // why nothing is told
	capable    bool            // a missing capability is told
	unowned    uint64          // refusals of nobody's that the table knows
	traces     traces
}

// New returns a Collector; Run attaches its programs.
func New(o Options) *Collector {
	if o.Every <= 0 {
		o.Every = time.Second
	}
	return &Collector{
		o: o, containers: map[string]*container{}, rows: map[bpf.DenialKey]seen{}, nested: fold.New(o.MaxNested, (*causes).add),
		fresh: map[string]bool{}, blind: "the programs are not attached yet",
	}
}

// Blind says why nothing is told here; "" if something is.
func (c *Collector) Blind() string {
	if c.traces.on() {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blind
}

// Capabilities reports whether a missing capability is told as the cause.
func (c *Collector) Capabilities() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.capable
}

// Run attaches the programs and takes over what they tell, until ctx ends. Where
// none can be attached it says so, once, and traces alone are told.
func (c *Collector) Run(ctx context.Context) error {
	c.attach()
	tick := time.NewTicker(c.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if c.Blind() != "" {
			continue
		}
		if err := c.Sync(time.Now()); err != nil {
			c.o.Log.Error().Err(err).Msg("read refusals")
		}
	}
}

func (c *Collector) attach() {
	c.traces.mu.Lock()
	defer c.traces.mu.Unlock()
	if c.o.Seccomp {
		c.o.Source.AttachSeccomp(DriveFiltered)
	}
	c.o.Source.Attach()
	if c.o.Source.Attached() {
		c.o.Source.SelfTest(c.o.Drive)
	}
	poor := map[string][]string{}
	for _, h := range c.o.Source.Hooks() {
		if h.State != bpf.HookActive && !h.Rare {
			why := string(h.State) + ": " + h.Reason
			poor[why] = append(poor[why], h.Name)
		}
	}
	blind := ""
	for why, names := range poor {
		blind = why // all of them, if none is attached
		c.o.Log.Warn().Strs("hooks", names).Str("reason", why).Msg("denial hooks")
	}
	if c.o.Source.Attached() {
		blind = ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blind = blind
	c.capable = slices.ContainsFunc(c.o.Source.Hooks(), func(h bpf.Hook) bool { return h.Name == bpf.DenialsCapable && h.State == bpf.HookActive })
}
