package logs

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// maxQueued bounds the lines that wait to be written, in batches and bytes.
const (
	maxQueued      = 4096
	maxQueuedBytes = 64 << 20
)

var descSinkDropped = prometheus.NewDesc("eyas_log_output_dropped_lines_total", "Lines that logs-output was too slow for, or that could not be written to it.", nil, nil)

// JSONLines is a Sink that writes a line of JSON for each, as LogAnswer has it.
type JSONLines struct {
	w       io.Writer
	log     zerolog.Logger
	queue   chan []identity.LogLine
	waiting atomic.Int64 // bytes in the queue
	dropped atomic.Uint64
}

// NewJSONLines returns a sink that Run writes to w.
func NewJSONLines(w io.Writer, log zerolog.Logger) *JSONLines {
	return &JSONLines{w: w, log: log, queue: make(chan []identity.LogLine, maxQueued)}
}

// Put implements Sink.
func (j *JSONLines) Put(lines []identity.LogLine) {
	n := size(lines)
	if j.waiting.Load()+n > maxQueuedBytes && j.waiting.Load() > 0 {
		j.dropped.Add(uint64(len(lines)))
		return
	}
	j.waiting.Add(n)
	select {
	case j.queue <- lines:
	default:
		j.waiting.Add(-n)
		j.dropped.Add(uint64(len(lines)))
	}
}

func size(lines []identity.LogLine) (n int64) {
	for i := range lines {
		n += int64(cost(&lines[i]))
	}
	return n
}

// Run writes until ctx ends, and then what is left. What cannot be written is dropped;
// that it is so is logged when it begins.
func (j *JSONLines) Run(ctx context.Context) error {
	failing := false
	write := func(lines []identity.LogLine) {
		err := j.write(lines)
		j.waiting.Add(-size(lines))
		if err != nil {
			j.dropped.Add(uint64(len(lines)))
		}
		if err != nil && !failing {
			j.log.Error().Err(err).Msg("lines are lost: they cannot be written to logs-output")
		}
		failing = err != nil
	}
	for {
		select {
		case lines := <-j.queue:
			write(lines)
		case <-ctx.Done():
			for {
				select {
				case lines := <-j.queue:
					write(lines)
				default:
					return nil
				}
			}
		}
	}
}

func (j *JSONLines) write(lines []identity.LogLine) error {
	if f, ok := j.w.(*File); ok {
		if err := f.Renew(time.Now()); err != nil {
			j.log.Error().Err(err).Msg("logs-output was renamed, and lines go on to the old file")
		}
	}
	out := bufio.NewWriterSize(j.w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for i := range lines {
		if err := enc.Encode(lines[i].Answer()); err != nil {
			return fmt.Errorf("write logs-output: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write logs-output: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (j *JSONLines) Describe(ch chan<- *prometheus.Desc) { ch <- descSinkDropped }

// Collect implements prometheus.Collector.
func (j *JSONLines) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(descSinkDropped, prometheus.CounterValue, float64(j.dropped.Load()))
}
