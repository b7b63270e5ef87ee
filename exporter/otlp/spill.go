package otlp

import (
	"errors"
	"time"
)

// spill moves lines to disk while the receiver does not take them, and when half
// of the queue in memory is used, until over is closed.
func (e *Exporter) spill(over <-chan struct{}) {
	tick := time.NewTicker(e.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-e.q.half:
		case <-tick.C:
			if !e.down() {
				continue
			}
		case <-over:
			return
		}
		for e.down() || e.q.stats().Memory.Bytes > e.o.QueueBytes/2 {
			b, ok := e.q.take()
			if !ok {
				break
			}
			if !e.store(b) {
				// Not at once again: lines come in all the time.
				select {
				case <-time.After(e.o.Backoff.Initial):
				case <-over:
					return
				}
			}
		}
	}
}

// store moves a batch from memory to disk. If that fails it goes back, and at the
// end it is dropped.
func (e *Exporter) store(b batch) bool {
	e.moving.Lock()
	defer e.moving.Unlock()
	pushed, err := e.disk.put(b)
	e.q.pushed(pushed)
	if err == nil {
		e.q.stored(b)
		e.diskWorks()
		return true
	}
	e.diskFailed(err)
	if !e.q.back(b) {
		e.q.drop(b.Count, DropDisk)
	}
	return false
}

// diskFailed notes that the queue on disk fails; lines stay in memory. The caller
// holds moving.
func (e *Exporter) diskFailed(err error) {
	if errors.Is(err, errDamaged) {
		e.q.diskLost()
	}
	e.mu.Lock()
	changed := !e.diskDown
	e.diskDown = true
	e.mu.Unlock()
	if changed {
		e.log.Error().Err(err).Msg("log lines cannot be kept on disk")
	}
}

func (e *Exporter) diskWorks() {
	e.mu.Lock()
	changed := e.diskDown
	e.diskDown = false
	e.mu.Unlock()
	if changed {
		e.log.Info().Msg("log lines are kept on disk again")
	}
}
