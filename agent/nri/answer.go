package nri

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/containerd/nri/pkg/api"
)

// Results of a request, as the metric has them.
const (
	resultOK      = "ok"
	resultIgnored = "ignored" // no sandbox
	resultRefused = "refused" // its annotation is no choice
	resultFailed  = "failed"
	resultTimeout = "timeout"
	resultPanic   = "panic"
)

var (
	errLate  = errors.New("not done in time")
	errPanic = errors.New("a bug in eyas")
)

// sandbox answers one request about a container. work is done only for
// sandboxes, and the answer does not wait for it longer than the deadline; late
// runs if it ends after that. An error leaves only if the profile is Required.
func sandbox[T any](ctx context.Context, p *Plugin, event string, pod *api.PodSandbox, c *api.Container,
	work func(context.Context, Profile) (T, error), late func()) (out T, err error) {
	defer p.observe(event, time.Now(), &err)()
	var none T
	pr, wanted, err := p.choose(pod)
	if err != nil {
		p.missed(pod, c, err)
		return none, err
	}
	if !wanted {
		return none, errIgnored
	}
	out, err = within(ctx, p, func(ctx context.Context) (T, error) { return work(ctx, pr) }, late)
	if err != nil {
		p.missed(pod, c, err)
		if pr.Required {
			err = &requiredError{err}
		}
		return none, err
	}
	return out, nil
}

var errIgnored = errors.New("no sandbox")

// requiredError fails a container.
type requiredError struct{ error }

func (e *requiredError) Error() string {
	return fmt.Sprintf("eyas: its profile requires that it is prepared: %v", e.error)
}

func (e *requiredError) Unwrap() error { return e.error }

// public is the part of an error that the runtime hears: the others are
// logged and counted already.
func public(err error) error {
	var r *requiredError
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// within runs f for as long as the deadline allows. f gets a context that ends
// then; if it goes on nevertheless, nobody waits, and late runs after it.
func within[T any](ctx context.Context, p *Plugin, f func(context.Context) (T, error), late func()) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	p.mu.Lock()
	deadline := p.deadline
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, deadline)
	done := make(chan outcome) // unbuffered: either it is received, or it is late
	go func() {
		defer cancel()
		var o outcome
		o.v, o.err = safely(ctx, p, f)
		select {
		case done <- o:
		case <-ctx.Done():
			if late != nil {
				late()
			}
		}
	}()
	select {
	case o := <-done:
		return o.v, o.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%w (%s): the machine is overloaded (give plugins more time: plugin_request_timeout of the runtime's NRI), or a lease is being taken back", errLate, deadline)
	}
}

func safely[T any](ctx context.Context, p *Plugin, f func(context.Context) (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.o.Log.Error().Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg("a request of the runtime met a bug")
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return f(ctx)
}

// observe measures a request; the function returned ends it.
func (p *Plugin) observe(event string, start time.Time, err *error) func() {
	return func() {
		p.m.seconds.WithLabelValues(event).Observe(time.Since(start).Seconds())
		p.m.total.WithLabelValues(event, resultOf(*err)).Inc()
	}
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return resultOK
	case errors.Is(err, errIgnored):
		return resultIgnored
	case errors.Is(err, errRefused):
		return resultRefused
	case errors.Is(err, errLate), errors.Is(err, context.DeadlineExceeded):
		return resultTimeout
	case errors.Is(err, errPanic):
		return resultPanic
	}
	return resultFailed
}
