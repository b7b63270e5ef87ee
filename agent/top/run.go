package top

import (
	"context"
	"fmt"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/gdamore/tcell/v3"
	"github.com/gdamore/tcell/v3/color"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Options of Run.
type Options struct {
	Ask      func(context.Context) ([]identity.StatsRow, error) // called by one goroutine at a time
	Interval time.Duration                                      // between two calls of Ask
	Where    string                                             // the chain that Ask is about; "" is the node
	Escape   func(string) string                                // makes text safe to print
}

// Run shows answers on the process's terminal until q, ctx's end, SIGHUP or
// SIGQUIT, all of which are no error. The terminal is as it was when Run returns
// or panics; a panic of Ask is one of Run.
func Run(ctx context.Context, o Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	return on(ctx, o, nil)
}

// on runs on a terminal; nil is the process's. It is asked for nothing: what it
// would answer is needed for keys that are not used.
func on(ctx context.Context, o Options, tty tcell.Tty) error {
	screen, err := tcell.NewTerminfoScreenFromTty(tty, tcell.OptNegotiation(false), tcell.OptSanitizeContent(true))
	if err == nil {
		err = screen.Init()
	}
	if err != nil {
		return fmt.Errorf("open terminal: %w: --once needs none", err)
	}
	defer screen.Fini()
	return loop(ctx, o, screen)
}

// said is an answer, or why there is none.
type said struct {
	rows  []identity.StatsRow
	err   error
	panic any
}

func loop(ctx context.Context, o Options, screen tcell.Screen) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(o.Escape, o.Where, o.Interval)
	heard := make(chan said, 1) // whoever asks never waits for us
	asking := false
	ask := func() {
		if !asking && !m.paused {
			asking = true
			go func() { heard <- once(ctx, o.Ask) }()
		}
	}
	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	ask()
	for {
		draw(screen, m)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			ask()
		case s := <-heard:
			asking = false
			if s.panic != nil {
				panic(s.panic)
			}
			m.answer(s.rows, s.err)
		case e, open := <-screen.EventQ():
			if !open {
				return nil // the terminal is gone
			}
			was := m.paused
			if quit, err := event(screen, m, e); quit || err != nil {
				return err
			}
			if was && !m.paused {
				tick.Reset(o.Interval)
				ask()
			}
		}
	}
}

// patience is how long an answer may take: longer than a busy agent needs.
const patience = 15 * time.Second

// once asks, and hands a panic on to where the terminal can be given back.
func once(ctx context.Context, ask func(context.Context) ([]identity.StatsRow, error)) (s said) {
	defer func() {
		if p := recover(); p != nil {
			s = said{panic: fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := ask(ctx)
	return said{rows: rows, err: err}
}

func event(screen tcell.Screen, m *model, e tcell.Event) (quit bool, _ error) {
	switch e := e.(type) {
	case *tcell.EventKey:
		return m.key(e.Key(), e.Str()), nil
	case *tcell.EventResize:
		screen.Sync()
	case *tcell.EventError:
		return true, fmt.Errorf("terminal: %w", e)
	}
	return false, nil
}

func draw(screen tcell.Screen, m *model) {
	screen.Clear()
	width, height := screen.Size()
	for y, line := range m.lines(width, height) {
		x := 0
		for _, s := range line {
			for rest, w := s.text, 0; rest != ""; x += w {
				rest, w = screen.Put(x, y, rest, style(s.look))
				if w == 0 {
					break // at the edge
				}
			}
		}
	}
	screen.Show()
}

func style(l look) tcell.Style {
	s := tcell.StyleDefault
	switch l {
	case title:
		return s.Bold(true)
	case chosen:
		return s.Reverse(true)
	case alarm:
		return s.Foreground(color.Red).Bold(true)
	case alarmChosen:
		return s.Foreground(color.Red).Bold(true).Reverse(true)
	case dim:
		return s.Dim(true)
	}
	return s
}
