package nri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/stub"
	"github.com/rs/zerolog"
)

// maxBackoff is the longest wait between two attempts to connect.
const maxBackoff = 30 * time.Second

// setupTime is how long a runtime may take to register and configure a plugin;
// its own limit is 5 s.
const setupTime = 10 * time.Second

// Run connects, serves and connects again until ctx ends. A machine without a
// runtime is no error: it is logged once and shows in eyas_nri_connected.
func (p *Plugin) Run(ctx context.Context) error {
	var jobs sync.WaitGroup
	jobs.Go(func() { p.runJobs(ctx) })
	defer jobs.Wait()
	wait := p.o.Backoff
	for {
		err := p.serve(ctx)
		if p.lost(ctx, err) {
			wait = p.o.Backoff
		}
		// Half of the wait is by chance: plugins of a runtime that restarts come
		// back one after the other.
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, maxBackoff)
	}
}

// serve is one connection, from dialing to its end.
func (p *Plugin) serve(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", p.o.Socket)
	if err != nil {
		return fmt.Errorf("connect to the runtime: %w", err)
	}
	defer conn.Close()
	s := &session{Plugin: p, configured: make(chan struct{}, 1)}
	st, err := stub.New(s, stub.WithPluginName(p.o.Name), stub.WithPluginIdx(p.o.Index),
		stub.WithConnection(conn), stub.WithLogger(logger{p.o.Log}))
	if err != nil {
		return err
	}
	s.limit = st.RequestTimeout
	done := make(chan error, 1)
	// A stub whose runtime goes before it configures waits for ever: it is left behind.
	go func() { done <- st.Run(ctx) }()
	timer := time.NewTimer(setupTime)
	defer timer.Stop()
	configured := s.configured
	for {
		select {
		case err := <-done:
			return err
		case <-configured:
			timer.Stop()
			configured = nil
		case <-ctx.Done():
			if configured == nil {
				return <-done
			}
			return ctx.Err()
		case <-timer.C:
			return fmt.Errorf("the runtime did not configure this plugin within %s", setupTime)
		}
	}
}

func (p *Plugin) setConnected(runtime string) {
	p.mu.Lock()
	p.connected, p.told = true, false
	p.mu.Unlock()
	p.o.Log.Info().Str("runtime", runtime).Str("socket", p.o.Socket).Msg("connected to the runtime: sandboxes are prepared before they start")
	p.changed()
}

func (p *Plugin) changed() {
	if p.o.Changed != nil {
		p.o.Changed()
	}
}

// lost notes the end of a connection, or that there was none, and says so once.
// It reports whether there was one.
func (p *Plugin) lost(ctx context.Context, err error) (was bool) {
	p.mu.Lock()
	was, p.connected = p.connected, false
	say := !p.told
	p.told = true
	p.mu.Unlock()
	if was {
		p.changed()
	}
	if !say || ctx.Err() != nil {
		return was
	}
	if err == nil {
		err = errors.New("the runtime closed the connection")
	}
	level := zerolog.WarnLevel
	if p.o.Optional && !was && errors.Is(err, fs.ErrNotExist) {
		level = zerolog.InfoLevel
	}
	p.o.Log.WithLevel(level).Err(err).Str("socket", p.o.Socket).Msg("not connected to a runtime: sandboxes that start now are not prepared; eyas keeps trying")
	return was
}

// logger lets package stub log what matters to developers only.
type logger struct{ zerolog.Logger }

func (l logger) Debugf(_ context.Context, f string, a ...any) { l.Trace().Msgf(f, a...) }
func (l logger) Infof(_ context.Context, f string, a ...any)  { l.Trace().Msgf(f, a...) }
func (l logger) Warnf(_ context.Context, f string, a ...any)  { l.Debug().Msgf(f, a...) }
func (l logger) Errorf(_ context.Context, f string, a ...any) { l.Debug().Msgf(f, a...) }
