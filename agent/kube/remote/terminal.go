package remote

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
	"k8s.io/client-go/tools/remotecommand"
)

// Terminal is the caller's terminal, given over to a program elsewhere.
type Terminal struct {
	in, out *os.File
	old     *term.State
	resized chan os.Signal
	done    chan struct{}
	once    sync.Once
	first   bool
}

// TakeTerminal puts the terminal into raw mode until Close: keys, also ^C, go there.
func TakeTerminal(in, out *os.File) (*Terminal, error) {
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	t := &Terminal{in: in, out: out, old: old, resized: make(chan os.Signal, 1), done: make(chan struct{}), first: true}
	signal.Notify(t.resized, syscall.SIGWINCH)
	return t, nil
}

// Close gives the terminal back as it was.
func (t *Terminal) Close() (err error) {
	t.once.Do(func() {
		signal.Stop(t.resized)
		close(t.done)
		err = term.Restore(int(t.in.Fd()), t.old)
	})
	return err
}

// Next waits for a new size; the first is that of now. It implements
// remotecommand.TerminalSizeQueue.
func (t *Terminal) Next() *remotecommand.TerminalSize {
	if !t.first {
		select {
		case <-t.resized:
		case <-t.done:
			return nil
		}
	}
	t.first = false
	width, height, err := term.GetSize(int(t.out.Fd()))
	if err != nil {
		return nil
	}
	return &remotecommand.TerminalSize{Width: uint16(width), Height: uint16(height)}
}
