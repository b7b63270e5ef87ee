package top

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gdamore/tcell/v3"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// terminal is one of 80 by 24 without a device.
type terminal struct {
	keys    chan string
	mu      sync.Mutex
	shown   strings.Builder
	raw     bool
	stopped int
}

func (*terminal) NotifyResize(chan<- bool) {}
func (*terminal) WindowSize() (tcell.WindowSize, error) {
	return tcell.WindowSize{Width: 80, Height: 24}, nil
}
func (t *terminal) Start() error { t.set(true); return nil }
func (t *terminal) Stop() error  { t.set(false); return nil }
func (t *terminal) Drain() error { close(t.keys); return nil }
func (*terminal) Close() error   { return nil }

func (t *terminal) set(raw bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.raw = raw
	if !raw {
		t.stopped++
	}
}

func (t *terminal) Read(p []byte) (int, error) {
	k, open := <-t.keys
	if !open {
		return 0, io.EOF
	}
	return copy(p, k), nil
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.Write(p)
}

func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.String()
}

// However it ends, the terminal is given back: once, and with the screen that was
// there before.
func TestTerminalIsGivenBack(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm")
	for name, tc := range map[string]struct {
		end   func(*terminal, context.CancelFunc)
		ask   func(context.Context) // before the answer
		panic bool
	}{
		"q":                {end: func(tty *terminal, _ context.CancelFunc) { tty.keys <- "q" }},
		"a signal":         {end: func(_ *terminal, cancel context.CancelFunc) { cancel() }},
		"a panic":          {ask: func(context.Context) { panic("boom \x1b[2J") }, panic: true},
		"nobody answers":   {ask: func(ctx context.Context) { <-ctx.Done() }, end: func(tty *terminal, _ context.CancelFunc) { tty.keys <- "q" }},
		"Ctrl-C and Enter": {end: func(tty *terminal, _ context.CancelFunc) { tty.keys <- "\r\x03" }},
	} {
		tty := &terminal{keys: make(chan string, 8)}
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan struct{}, 100)
		o := Options{Interval: time.Hour, Escape: escape, Ask: func(ctx context.Context) ([]identity.StatsRow, error) {
			asked <- struct{}{}
			if tc.ask != nil {
				tc.ask(ctx)
			}
			return nest(1, 0), nil
		}}
		if tc.end != nil {
			go func() { <-asked; tc.end(tty, cancel) }()
		}
		var thrown any
		err := func() error {
			defer func() { thrown = recover() }()
			return on(ctx, o, tty)
		}()
		cancel()
		if err != nil || (thrown != nil) != tc.panic || tc.panic && !strings.Contains(thrown.(string), "boom") {
			t.Errorf("%s: %v, panic %v", name, err, thrown)
		}
		out := tty.text()
		if tty.raw || tty.stopped != 1 || !strings.Contains(out, "\x1b[?1049h") || strings.LastIndex(out, "\x1b[?1049l") < strings.LastIndex(out, "\x1b[?1049h") {
			t.Errorf("%s: raw %v, stopped %d times, %q", name, tty.raw, tty.stopped, out)
		}
	}
}

// Questions come at the interval, one at a time, none while paused, and at once
// after that.
func TestQuestions(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm")
	synctest.Test(t, func(t *testing.T) {
		tty := &terminal{keys: make(chan string, 8)}
		var mu sync.Mutex
		var asked []time.Duration
		began := time.Now()
		slow := 5 * time.Second // the third answer; the seventh never comes
		o := Options{Interval: 2 * time.Second, Escape: escape, Ask: func(ctx context.Context) ([]identity.StatsRow, error) {
			mu.Lock()
			asked = append(asked, time.Since(began).Round(time.Second))
			n := len(asked)
			mu.Unlock()
			if n == 3 {
				<-time.After(slow)
				return nil, errors.New("too slow")
			}
			if n == 7 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nest(float64(n), uint64(n)), nil
		}}
		done := make(chan error, 1)
		go func() { done <- on(t.Context(), o, tty) }()
		for _, step := range []struct {
			key  string
			wait time.Duration
		}{{"", 13 * time.Second}, {" ", 8 * time.Second}, {" ", 18 * time.Second}, {"q", time.Second}} {
			if step.key != "" {
				tty.keys <- step.key
			}
			<-time.After(step.wait)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		// Asked at 4 it answers at 9; paused from 13 to 21; given up at 38.
		want := []time.Duration{0, 2, 4, 10, 12, 21, 23, 39}
		for i := range want {
			want[i] *= time.Second
		}
		mu.Lock()
		defer mu.Unlock()
		if len(asked) != len(want) {
			t.Fatalf("asked at %v, want %v", asked, want)
		}
		for i := range want {
			if asked[i] != want[i] {
				t.Errorf("asked at %v, want %v", asked, want)
			}
		}
		if out := tty.text(); !strings.Contains(out, "too slow") || !strings.Contains(out, "PAUSED") || !strings.Contains(out, "deadline") {
			t.Errorf("%q", out)
		}
	})
}
