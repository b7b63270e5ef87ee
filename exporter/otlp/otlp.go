// Package otlp sends lines of nested containers' logs to an OpenTelemetry
// receiver.
//
// What enters: lines, by Put, which never blocks and never fails. What leaves:
// OTLP log records over gRPC or HTTP, one resource per outermost container, and
// Prometheus series. It touches nothing but the network, and one bbolt file if it
// is given a directory.
//
// Lines wait in a queue in memory. While the receiver does not take them, and
// when half of that queue is used, they go on to the queue on disk, if there is
// one; what is there survives a restart. Both are bounded in bytes: when one is
// full, the oldest lines that are not under way are dropped. Every line put is
// sent, dropped for a reason, or queued, at any moment, in lines and in bytes. A
// line's bytes are what it would take in memory if it shared nothing with others,
// about 1 KiB more than its text.
//
// What the receiver may take later is sent again, so that a line can arrive twice
// but not get lost on the way; what it refuses for good is dropped.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Exporter is a sink of lines and a prometheus.Collector; safe for concurrent use.
type Exporter struct {
	o      Options
	client *client
	q      *queue
	disk   *disk // nil: none
	log    zerolog.Logger

	moving sync.Mutex // what is done on disk and its account are one

	mu       sync.Mutex
	state    state
	refused  time.Time // when something was last refused
	retries  uint64
	success  time.Time // zero: never
	diskDown bool
}

// New checks the options and opens the queue on disk. Nothing is sent before Run.
// The caller calls Close after Run.
func New(o Options) (*Exporter, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	e := &Exporter{o: o, client: c, q: newQueue(o), log: o.Log}
	if o.DiskDir == "" {
		return e, nil
	}
	d, found, err := openDisk(o.DiskDir, o.DiskBytes, o.Log)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	e.disk = d
	e.q.restored(found)
	if found.Records > 0 {
		e.log.Info().Int64("records", found.Records).Int64("bytes", found.Bytes).Msg("log lines of an earlier run wait on disk")
	}
	return e, nil
}

// Put takes lines to send. It never blocks: what does not fit pushes the oldest
// out. Chains and PIDs of the lines must not be changed afterwards; Body may be.
func (e *Exporter) Put(lines []identity.LogLine) {
	e.q.put(newEntries(lines, time.Now()))
}

// Run sends until ctx ends, then has Options.Drain to send the rest. What is left
// then goes to disk, or is dropped.
func (e *Exporter) Run(ctx context.Context) error {
	send, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		e.q.wakeUp()
		if e.disk != nil && e.down() {
			cancel()
			return
		}
		select {
		case <-time.After(e.o.Drain):
			cancel()
		case <-send.Done():
		}
	})()
	var wg sync.WaitGroup
	over := make(chan struct{})
	if e.disk != nil {
		wg.Go(func() { e.spill(over) })
	}
	e.send(ctx, send)
	close(over)
	wg.Wait()
	e.leave()
	return nil
}

// Close closes the connection and the queue on disk; not before Run has returned.
// Lines put from now on are dropped.
func (e *Exporter) Close() error {
	e.leave()
	err := e.client.close()
	if e.disk != nil {
		err = errors.Join(err, e.disk.close())
	}
	if err != nil {
		return fmt.Errorf("close OTLP exporter: %w", err)
	}
	return nil
}

// leave stores what is in memory, or drops it.
func (e *Exporter) leave() {
	for _, b := range e.q.end() {
		if e.disk == nil {
			e.q.drop(b.Count, DropShutdown)
			continue
		}
		e.store(b)
	}
}
