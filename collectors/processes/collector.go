// Package processes counts the processes of every container, nested or not:
// how many there are, were born, executed programs, and how they ended.
//
// What enters: the identity table and the kernel's own counts. What leaves:
// Prometheus series. It changes nothing but the kernel's counts map, from which it
// takes the rows of containers that are gone.
package processes

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/fold"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/series"
)

// Counter is the kernel's counting; *bpf.Monitor is one.
type Counter interface {
	Counts() (map[bpf.CountsKey]bpf.Counts, error)
	TakeCounts(bpf.CountsKey) (bpf.Counts, error)
}

// Table gives a view of a table that is no older than a moment.
type Table interface {
	Refresh(ctx context.Context) error
	View(f func(table *identity.Table, zombies map[string]int))
}

// Options of a Collector.
type Options struct {
	Counter   Counter
	Table     Table
	MaxNested int // series of nested containers per outermost one; default 50
	Log       zerolog.Logger
}

// Collector is a prometheus.Collector; safe for concurrent use.
type Collector struct {
	o      Options
	mu     sync.Mutex
	fresh  time.Time
	nested *fold.Series[bpf.Counts]
	owners map[bpf.CountsKey]string    // whose the rows were at the last look
	lost   map[bpf.CountsKey]time.Time // since when rows are nobody's that lives
}

// New returns a Collector.
func New(o Options) *Collector {
	return &Collector{o: o, nested: fold.New(o.MaxNested, (*bpf.Counts).Add), lost: map[bpf.CountsKey]time.Time{}}
}

var labels = []string{"namespace", "pod", "container", "nested", "level"}

func gauge(name, help string, more ...string) *series.Family {
	return series.Gauge("eyas_container_"+name, help, labels, more...)
}

func counter(name, help string, more ...string) *series.Family {
	return series.Counter("eyas_container_"+name, help, labels, more...)
}

var (
	ofProcesses = gauge("processes", "Live processes (thread groups) right in the container, zombies not counted.")
	ofThreads   = gauge("threads", "Threads of these processes, first threads included.")
	ofZombies   = gauge("zombies", "Dead processes of the container that nobody has reaped.")
	ofPeak      = gauge("processes_peak", "Most live processes seen at once since the agent started.")
	ofForks     = counter("forks_total", "Processes born in the container.")
	ofStarted   = counter("threads_started_total", "Threads started that are not the first of their process.")
	ofExecs     = counter("exec_total", "Programs executed in the container.")
	ofExits     = counter("exits_total", "Processes that ended, by kind: zero (exit status 0), error (another status), signal.", "kind")
	ofOOM       = counter("oom_kills_total", "Processes the OOM killer chose; part of exits by signal.")
	ofEscaped   = gauge("escaped", "1 when the container lives outside the cgroup subtree of the container around it.")
	ofInfo      = gauge("info", "Names and ids of the container; always 1.",
		"id", "name", "runtime", "runtime_id", "image", "pidns", "userns")
	ofFolded = series.Gauge("eyas_nested_folded",
		"Nested containers without series of their own, added up as nested=\"_other\".", labels[:3])
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range []*series.Family{
		ofProcesses, ofThreads, ofZombies, ofPeak, ofForks, ofStarted, ofExecs, ofExits,
		ofOOM, ofEscaped, ofInfo, ofFolded,
	} {
		ch <- f.Desc()
	}
}

// minRefresh bounds how often scrapes make the kernel iterate.
const minRefresh = time.Second

// refresh makes the table equal to the kernel, unless it just was. The lock is held.
func (c *Collector) refresh(ctx context.Context) error {
	if time.Since(c.fresh) < minRefresh {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.o.Table.Refresh(ctx); err != nil {
		return err
	}
	c.fresh = time.Now()
	return nil
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) { c.Tell(series.To(ch)) }

// Tell writes what Collect sends.
func (c *Collector) Tell(w series.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(context.Background()); err != nil {
		c.o.Log.Error().Err(err).Msg("refresh before a scrape")
	}
	rows, err := c.o.Counter.Counts()
	if err != nil {
		// Counters then have no value: 0 would look like a reset.
		w.Invalid(ofForks, err)
		rows = nil
	} else if rows == nil {
		rows = map[bpf.CountsKey]bpf.Counts{}
	}
	for _, s := range c.gather(rows) {
		emit(w, s)
	}
}
