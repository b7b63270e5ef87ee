// Package logs makes lines of what nested containers write to their standard
// streams.
//
// What enters: the kernel's records of writes, and the identity table. What leaves:
// lines with who wrote them, to sinks that never block, and from a bounded store of
// the latest ones, also of containers that are gone; and Prometheus series. It
// changes nothing but the kernel's maps, in which it selects containers and forgets
// those that are gone.
package logs

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Source is the kernel's telling; *bpf.LogMonitor is one.
type Source interface {
	Read(deadline time.Time, f func(*bpf.Log) bool) error
	Streams() (map[bpf.LogBox][]bpf.LogStream, error)
	SelectAll(bpf.LogSelection) error
	Select(bpf.LogBox, bpf.LogSelection) error
	Adopt() error
	Forget(map[bpf.LogBox]bool) error
	// Drained reports whether all that a container wrote that is gone is handed over
	// by a Read that comes back in time.
	Drained(bpf.LogBox) bool
	Missed() (writes, execs uint64)
	Attach()
	Attached() bool
	SelfTest(bpf.Drive)
	Hooks() []bpf.Hook
}

// Table gives a view of the identity table, and brings it up to date.
type Table interface {
	View(f func(table *identity.Table, zombies map[string]int))
	Sync(ctx context.Context) error
}

// Sink takes lines. It must neither block nor change them; what it has no room for it
// counts.
type Sink interface {
	Put(lines []identity.LogLine)
}

// Options of a Collector.
type Options struct {
	Open      func() (Source, error) // the kernel's telling, once it is wanted
	Files     Source                 // instead of it, if it cannot be; may be nil
	Table     Table
	Clock     identity.Clock
	Node      identity.Node
	Select    Selection
	Redact    Redaction
	Sinks     []Sink
	MaxNested int           // nested containers with series, per outermost one; default 50
	Keep      int           // bytes of lines that are kept, per stream of a container; default 256 KiB
	KeepAll   int           // of all containers; default 64 MiB
	Flush     time.Duration // how long the beginning of a line waits for its end; default 1 s
	Tick      time.Duration // longest time a record stays unread; default 100 ms
	Drive     bpf.Drive     // for the self-test; see Drive
	Log       zerolog.Logger
}

// Bounds of what is under way.
const (
	maxPending  = 8 << 20 // bytes of beginnings of lines
	maxBatch    = 4 << 20 // bytes of records between deliveries
	unknownFor  = 10 * time.Second
	rowsEvery   = time.Second
	selectEvery = 500 * time.Millisecond
)

// box is a container by its pid namespace.
type box struct {
	streams map[uint32]*stream // by descriptor
	first   time.Time          // heard of
	gone    bool               // by the table, before the last reading
}

// raw is a line whose container is still to be found.
type raw struct {
	box    bpf.LogBox
	fd     uint32
	part   part // with a body of its own
	writer writer
}

// Collector is a prometheus.Collector. Run belongs to one goroutine; all else is safe
// for concurrent use.
type Collector struct {
	o      Options
	src    Source          // one of the two, from attach on
	via    identity.LogWay // which
	store  *store
	boxes  map[bpf.LogBox]*box
	choose sync.Mutex // guards chosen
	chosen map[bpf.LogBox]bpf.LogSelection
	looked map[bpf.LogBox]bool // for streams of those that never exec
	batch  []raw
	read   int // bytes of records in the batch
	held   int // bytes of beginnings of lines

	asked    sync.Once
	ask      chan struct{} // closed when a pod has asked for its logs
	attached chan struct{} // closed when there is a source, or it is known that there is none

	mu     sync.Mutex // guards what follows
	blind  string     // why nothing is told
	way    Way
	pods   map[string]Pod // by the runtime's id of their container
	totals totals
}

// New returns a Collector; Run attaches its programs.
func New(o Options) *Collector {
	def := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	def(&o.MaxNested, 50)
	def(&o.Keep, 256<<10)
	def(&o.KeepAll, 64<<20)
	if o.Flush <= 0 {
		o.Flush = time.Second
	}
	if o.Tick <= 0 {
		o.Tick = 100 * time.Millisecond
	}
	c := &Collector{
		o: o, store: newStore(o.Keep, o.KeepAll), boxes: map[bpf.LogBox]*box{}, chosen: map[bpf.LogBox]bpf.LogSelection{}, looked: map[bpf.LogBox]bool{},
		ask: make(chan struct{}), attached: make(chan struct{}), pods: map[string]Pod{}, blind: "no pod has asked for it yet, by the annotation " + Annotation, totals: newTotals(o.MaxNested),
	}
	if !o.Select.Waits() {
		c.blind = "the programs are not attached yet"
	}
	return c
}

// Blind says why nothing is told here; "" if something is.
func (c *Collector) Blind() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blind
}

// Lines returns lines that are kept, by time, the number to ask for later ones with,
// and what is closed when there is one.
func (c *Collector) Lines(q Query) ([]identity.LogLine, uint64, <-chan struct{}) {
	c.mu.Lock()
	via := c.way.Via
	c.mu.Unlock()
	if a, ok := c.o.Files.(interface{ Also(string) string }); ok && via == identity.LogFile && q.Container != "" {
		q.also = a.Also(q.Container)
	}
	return c.store.lines(q)
}

// Run attaches the programs, once somebody's logs are wanted, and takes over what they tell, until ctx ends. Where they
// cannot be attached it says so, once, and returns.
func (c *Collector) Run(ctx context.Context) error {
	if c.o.Select.Waits() {
		select {
		case <-c.ask:
		case <-ctx.Done():
			return nil
		}
	}
	err := c.attach()
	close(c.attached)
	if err != nil {
		return err
	}
	if c.Blind() != "" {
		return nil
	}
	var execs uint64
	var selected, rows time.Time
	for ctx.Err() == nil {
		now := time.Now()
		if now.Sub(selected) >= selectEvery {
			selected = now
			if err := c.apply(); err != nil {
				c.o.Log.Error().Err(err).Msg("select containers whose logs are told")
			}
			// An exec that was skipped leaves a container unnoted.
			if _, n := c.src.Missed(); n != execs {
				execs = n
				if err := c.src.Adopt(); err != nil {
					c.o.Log.Error().Err(err).Msg("look for log streams")
				}
			}
		}
		full := now.Sub(rows) >= rowsEvery
		if full {
			rows = now
		}
		if err := c.round(ctx, now, full); err != nil {
			if errors.Is(err, os.ErrClosed) {
				return nil
			}
			return err
		}
	}
	return nil
}
