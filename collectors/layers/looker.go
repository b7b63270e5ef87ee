package layers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Looker looks at containers. Its zero value is ready; safe for concurrent use.
type Looker struct {
	once  sync.Once
	busy  chan struct{}
	stuck atomic.Int32 // looks that have not come back
}

var errGone = errors.New("the container has ended")

// enter waits until nobody else looks.
func (l *Looker) enter(ctx context.Context) (release func(), err error) {
	l.once.Do(func() { l.busy = make(chan struct{}, 1) })
	select {
	case l.busy <- struct{}{}:
		return func() { <-l.busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bounded calls f, which is to end when its context does. A sandbox can make it
// block for ever: it then costs a goroutine, of which there are few.
func bounded[T any](ctx context.Context, l *Looker, limit time.Duration, f func(context.Context) (T, error)) (none T, _ error) {
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("not looked at: %w", err)
	}
	if l.stuck.Load() >= maxStuck {
		return none, fmt.Errorf("not looked at: %d earlier looks do not come back", maxStuck)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	inner, cancel := context.WithTimeout(ctx, limit)
	l.stuck.Add(1)
	go func() {
		defer cancel()
		defer l.stuck.Add(-1)
		v, err := f(inner)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-inner.Done(): // it is late, has just ended, or nobody waits any more
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		return none, errors.New("its file system does not respond")
	}
}

// niceWhile calls f without the agent's precedence. The kernel has a nice value
// for each thread.
func niceWhile(f func() error) error {
	runtime.LockOSThread()
	// It tells 20 - nice (getpriority(2)); 0 is the calling thread.
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil || n <= 20 || unix.Setpriority(unix.PRIO_PROCESS, 0, 0) != nil {
		defer runtime.UnlockOSThread()
		return f()
	}
	defer func() {
		// A thread that cannot have its precedence back ends with this goroutine.
		if unix.Setpriority(unix.PRIO_PROCESS, 0, 20-n) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}
