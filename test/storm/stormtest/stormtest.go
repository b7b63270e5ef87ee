// Package stormtest runs the storm command for a test. Arguments enter; the
// storm's containers and its exact accounts leave, as types of package account.
// It touches a cache directory to build in and the process it starts; that one
// needs root.
//
//	s, err := stormtest.Start(ctx, "run", "--forks", "3000")
//	defer s.Close()
//	ready, err := s.Ready()
//	err = s.Go()
//	done, err := s.Done()
//	err = s.Quit()
package stormtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"

	"github.com/eyas-agent/eyas/test/storm/account"
)

// Storm is a running storm. One goroutine may use it; Close may come from another.
type Storm struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	events *bufio.Reader
	stderr *strings.Builder
	wait   func() error
}

// Ready is what stands before the storm begins.
type Ready struct {
	Containers []account.Container
	Report     account.Event
}

// Container returns the container with a number of the storm's.
func (r Ready) Container(id int) (account.Container, bool) {
	for _, c := range r.Containers {
		if c.ID == id {
			return c, true
		}
	}
	return account.Container{}, false
}

// Accounts are an event's totals by container.
func Accounts(event account.Event) map[int]account.Totals {
	totals := make(map[int]account.Totals, len(event.Accounts))
	for _, line := range event.Accounts {
		totals[line.ID] = line.Totals
	}
	return totals
}

// Start builds storm if it must and runs it with these arguments, the mode
// first. When ctx ends, storm is killed, and with it all it made; so it is when
// the calling process dies, which ends storm's standard input.
func Start(ctx context.Context, args ...string) (*Storm, error) {
	path, err := Binary(ctx)
	if err != nil {
		return nil, err
	}
	s := &Storm{cmd: exec.CommandContext(ctx, path, args...), stderr: &strings.Builder{}}
	s.cmd.Stderr = s.stderr
	s.wait = sync.OnceValue(s.cmd.Wait)
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start storm: %w", err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start storm: %w", err)
	}
	s.events = bufio.NewReaderSize(stdout, 1<<20)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start storm: %w", err)
	}
	return s, nil
}

// PID is the storm's own process.
func (s *Storm) PID() account.HostPID { return account.HostPID(s.cmd.Process.Pid) }

// Ready blocks until every container stands.
func (s *Storm) Ready() (Ready, error) {
	var r Ready
	for {
		event, err := s.next()
		switch {
		case err != nil:
			return Ready{}, err
		case event.Kind == account.EventContainer && event.Container != nil:
			r.Containers = append(r.Containers, *event.Container)
		case event.Kind == account.EventReady:
			r.Report = event
			return r, nil
		default:
			return Ready{}, fmt.Errorf("wait for %s: got %s", account.EventReady, event.Kind)
		}
	}
}

// Go starts the storm, or with --pause-at-half its second half.
func (s *Storm) Go() error {
	if _, err := io.WriteString(s.stdin, "go\n"); err != nil {
		return fmt.Errorf("tell storm to go: %w", err)
	}
	return nil
}

// Half blocks until half of the storm is over.
func (s *Storm) Half() (account.Event, error) { return s.expect(account.EventHalf) }

// Done blocks until the storm is over, passing over "half" if it was not taken.
// What is alive stays so until Quit.
func (s *Storm) Done() (account.Event, error) {
	event, err := s.next()
	if err == nil && event.Kind == account.EventHalf {
		return s.expect(account.EventDone)
	}
	if err == nil && event.Kind != account.EventDone {
		err = fmt.Errorf("wait for %s: got %s", account.EventDone, event.Kind)
	}
	return event, err
}

// Quit ends the storm and returns when nothing of it is left. Events that were
// not taken are passed over.
func (s *Storm) Quit() error {
	if err := s.stdin.Close(); err != nil {
		return fmt.Errorf("end storm: %w", err)
	}
	for {
		event, err := s.next()
		if err != nil {
			return err
		}
		if event.Kind == account.EventGone {
			break
		}
	}
	if err := s.wait(); err != nil {
		return fmt.Errorf("end storm: %w: %s", err, s.stderr)
	}
	return nil
}

// Close kills a storm that was not ended by Quit. It may be called again.
func (s *Storm) Close() error {
	_ = s.cmd.Process.Kill() // it may be gone
	var exit *exec.ExitError
	if err := s.wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("close storm: %w", err)
	}
	return nil
}

func (s *Storm) expect(kind string) (account.Event, error) {
	event, err := s.next()
	if err == nil && event.Kind != kind {
		err = fmt.Errorf("wait for %s: got %s", kind, event.Kind)
	}
	return event, err
}

func (s *Storm) next() (account.Event, error) {
	line, err := s.events.ReadBytes('\n')
	if err != nil {
		// The end of output is the end of storm: its error tells why.
		return account.Event{}, errors.Join(fmt.Errorf("read storm's events: %w", err), s.Close(), errors.New(s.stderr.String()))
	}
	var event account.Event
	if err := json.Unmarshal(line, &event); err != nil {
		return account.Event{}, fmt.Errorf("parse storm's event: %w", err)
	}
	return event, nil
}
