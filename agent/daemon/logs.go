package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/logs"
	"github.com/eyas-agent/eyas/collectors/logs/files"
	"github.com/eyas-agent/eyas/collectors/tracker"
	"github.com/eyas-agent/eyas/exporter/otlp"
)

// logFamily is what tells what containers write.
type logFamily struct {
	hooks  atomic.Pointer[bpf.LogMonitor] // nil: there are none, or not yet
	files  *files.Source                  // nil: likewise
	lines  *logs.Collector
	output *logs.JSONLines // may be nil
	file   *logs.File      // may be nil
	otlp   *otlp.Exporter  // may be nil
}

// openLogs returns nil where nobody's logs are to be told, or they cannot be here.
func openLogs(c Config, version string, t *tracker.Tracker, node identity.Node, clock identity.Clock, log zerolog.Logger) (*logFamily, error) {
	chosen, err := logs.ParseSelection(c.Logs)
	if err != nil {
		return nil, fmt.Errorf("key \"logs\": %w", err)
	}
	if chosen.None() {
		return nil, nil
	}
	redact, err := logs.ParseRedaction(c.LogsRedact)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", keyRedact, err)
	}
	f := &logFamily{}
	o := logs.Options{
		Table: t, Clock: clock, Node: node, Select: chosen, Redact: redact, MaxNested: c.MaxNestedSeries,
		Drive: logs.Drive(driveProcess), Log: log,
	}
	f.sources(c, &o, t)
	switch c.LogsOutput {
	case "":
	case "-":
		f.output = logs.NewJSONLines(os.Stdout, log)
	default:
		if f.file, err = logs.OpenFile(c.LogsOutput); err != nil {
			return nil, errors.Join(fmt.Errorf("open logs-output: %w: choose another file", err), f.close())
		}
		f.output = logs.NewJSONLines(f.file, log)
	}
	if f.output != nil {
		o.Sinks = append(o.Sinks, f.output)
	}
	if f.otlp, err = openOTLP(c, version, node.Name, log.With().Str("room", "otlp").Logger()); err != nil {
		return nil, errors.Join(err, f.close())
	}
	if f.otlp != nil {
		o.Sinks = append(o.Sinks, f.otlp)
	}
	f.lines = logs.New(o)
	return f, nil
}

// sources opens what lines may come from: the kernel's programs at once, unless nobody
// is selected before a pod asks.
func (f *logFamily) sources(c Config, o *logs.Options, t *tracker.Tracker) {
	o.Open = func() (logs.Source, error) {
		if c.LogsSource == "files" {
			return nil, errors.New("logs-source is files")
		}
		hooks, err := bpf.OpenLogs(bpf.LogOptions{RingBytes: uint32(c.LogsRing), Rate: uint64(c.LogsRate), Burst: uint64(c.LogsBurst)})
		if err != nil {
			return nil, err
		}
		f.hooks.Store(hooks)
		return hooks, nil
	}
	if !o.Select.Waits() {
		hooks, err := o.Open()
		o.Open = func() (logs.Source, error) { return hooks, err }
	}
	if c.LogsSource != "kernel" {
		f.files = files.New(files.Options{
			Table: t, Clock: o.Clock, Proc: c.ProcRoot, Rate: float64(c.LogsRate), Burst: float64(c.LogsBurst), Learn: t.Learn, Log: o.Log,
		})
		o.Files = f.files
	}
}

// run begins after the first snapshot: lines are of containers that the table knows.
func (f *logFamily) run(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return f.lines.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

func (f *logFamily) runOutput(ctx context.Context) error {
	if f.output == nil {
		return nil
	}
	return f.output.Run(ctx)
}

func (f *logFamily) runOTLP(ctx context.Context) error {
	if f.otlp == nil {
		return nil
	}
	return f.otlp.Run(ctx)
}

func (f *logFamily) collectors() []prometheus.Collector {
	all := []prometheus.Collector{f.lines}
	if f.output != nil {
		all = append(all, f.output)
	}
	if f.otlp != nil {
		all = append(all, f.otlp)
	}
	return all
}

func (f *logFamily) close() error {
	var err error
	if h := f.hooks.Load(); h != nil {
		err = h.Close()
	}
	if f.files != nil {
		err = errors.Join(err, f.files.Close())
	}
	if f.otlp != nil {
		err = errors.Join(err, f.otlp.Close())
	}
	if f.file != nil {
		err = errors.Join(err, f.file.Close())
	}
	return err
}
