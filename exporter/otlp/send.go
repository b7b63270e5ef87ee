package otlp

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// state is how the receiver fares; each change is logged, once.
type state string

const (
	unknown state = ""
	up      state = "up"
	down    state = "down"    // it does not take lines now
	refuses state = "refuses" // it refuses lines for good
)

// calm is how long nothing may have been refused before all is well again: a
// receiver may refuse every second batch.
const calm = time.Minute

// maxThrottle bounds how long a receiver can have lines wait.
const maxThrottle = 5 * time.Minute

// send sends until ctx has ended and nothing is left, or send has ended.
func (e *Exporter) send(ctx, send context.Context) {
	for {
		b, ok := e.next(ctx, send)
		if !ok {
			return
		}
		e.deliver(ctx, send, b)
	}
}

// next waits for what to send next: from disk, which has older lines, then from
// memory. False: it is time to leave.
func (e *Exporter) next(ctx, send context.Context) (batch, bool) {
	for send.Err() == nil {
		ending := ctx.Err() != nil
		if e.disk != nil {
			if ending && (e.down() || !e.disk.empty()) {
				break // memory goes to disk, too, and all is sent after the restart
			}
			if b, ok := e.fromDisk(); ok {
				return b, true
			}
		}
		wait, some := e.q.due(time.Now())
		if ending && !some {
			break
		}
		if some && (ending || wait == 0) {
			return e.q.take()
		}
		var timer <-chan time.Time
		if some {
			timer = time.After(wait)
		}
		select {
		case <-e.q.wake:
		case <-timer:
		case <-ctx.Done():
		}
	}
	return batch{}, false
}

func (e *Exporter) fromDisk() (batch, bool) {
	for !e.disk.empty() {
		b, ok := e.peek()
		if !ok || len(b.entries) > 0 {
			return b, ok
		}
		e.settle(b, Count{}, b.Count, DropDisk)
	}
	return batch{}, false
}

func (e *Exporter) peek() (batch, bool) {
	e.moving.Lock()
	defer e.moving.Unlock()
	b, ok, err := e.disk.peek()
	if err != nil {
		e.diskFailed(err)
		return batch{}, false
	}
	if ok {
		e.q.reading(b)
	}
	return b, ok
}

// deliver sends a batch until it is taken, refused, given up, or send ends; then
// it goes back. With a queue on disk it does so at the first failure after ctx has
// ended.
func (e *Exporter) deliver(ctx, send context.Context, b batch) {
	records := e.records(b.entries)
	leaving := func() bool { return send.Err() != nil || (e.disk != nil && ctx.Err() != nil) }
	var last outcome
	again := &backoff.ExponentialBackOff{
		InitialInterval: e.o.Backoff.Initial, MaxInterval: e.o.Backoff.Max,
		Multiplier: backoff.DefaultMultiplier, RandomizationFactor: backoff.DefaultRandomizationFactor,
	}
	_, err := backoff.Retry(send, func() (struct{}, error) {
		last = e.client.export(send, records)
		switch {
		case last.permanent, last.err != nil && leaving():
			return struct{}{}, backoff.Permanent(last.err)
		case last.err != nil && last.after > 0:
			return struct{}{}, errors.Join(last.err, &backoff.RetryAfterError{Duration: min(last.after, maxThrottle)})
		}
		return struct{}{}, last.err
	}, backoff.WithBackOff(again), backoff.WithMaxElapsedTime(e.o.Backoff.GiveUp), backoff.WithNotify(func(error, time.Duration) {
		if send.Err() == nil {
			e.failed(last.err)
		}
	}))
	switch {
	case err == nil:
		sent, rejected := b.part(last.rejected)
		e.settle(b, sent, rejected, DropRejected)
		e.took(rejected.Records, last.message)
	case last.permanent:
		e.settle(b, Count{}, b.Count, DropRejected)
		e.took(b.Records, last.err.Error())
	case leaving():
		if send.Err() == nil {
			e.failed(last.err)
		}
		if b.key != nil {
			e.q.reading(batch{}) // it stays where it is
		} else if !e.q.back(b) {
			e.q.drop(b.Count, DropShutdown)
		}
	default:
		e.failed(last.err)
		e.settle(b, Count{}, b.Count, DropExpired)
	}
}

// settle takes a batch from where it was, and counts it.
func (e *Exporter) settle(b batch, sent, rejected Count, why Drop) {
	if b.key == nil {
		e.q.settle(b, sent, rejected, why)
		return
	}
	e.moving.Lock()
	defer e.moving.Unlock()
	err := e.disk.remove(b.key)
	e.q.settle(b, sent, rejected, why)
	if err != nil {
		e.diskFailed(err)
	}
}

// failed notes an attempt that is made again.
func (e *Exporter) failed(err error) {
	e.mu.Lock()
	e.retries++
	changed := e.state != down
	e.state = down
	e.mu.Unlock()
	if changed {
		e.log.Warn().Str("reason", text(err.Error(), 512)).Msg("log lines wait: their receiver does not take them")
	}
}

// took notes an answer that is final, in which n records were refused.
func (e *Exporter) took(n int64, message string) {
	now := time.Now()
	e.mu.Lock()
	old := e.state
	switch {
	case n > 0:
		e.state, e.refused = refuses, now
	case old != refuses || now.Sub(e.refused) > calm:
		e.state = up
	}
	if n == 0 {
		e.success = now
	}
	changed := e.state != old
	state := e.state
	e.mu.Unlock()
	switch {
	case changed && state == refuses:
		e.log.Error().Int64("records", n).Str("reason", text(message, 512)).Msg("log lines are lost: their receiver refuses them")
	case changed && old == unknown:
		e.log.Info().Msg("log lines are sent")
	case changed:
		e.log.Info().Msg("log lines are sent again")
	}
}

func (e *Exporter) down() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state == down
}
