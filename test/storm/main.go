// Command storm is the workload the agent is proven against: nested containers
// made by the kernel's own means, and an exact account of what happened in them.
//
// It needs root, and beside it the program storm-worker (worker/, C), which is
// every process inside the containers. Arguments enter; JSON lines leave on
// standard output, of the types in package account; "go" and "quit" come in on
// standard input, whose end is a quit. It creates namespaces and processes of
// its own, which are gone when it dies, however it dies; and under --cgroup
// directories inside the one it is given, which only a SIGKILL leaves behind.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/eyas-agent/eyas/test/storm/account"
)

const usage = `usage: storm MODE [flags]
  run      storms over many nested containers
  burst    one container at a fixed rate
  hostile  containers with hostile names, held
  many     sleeping processes, held
  filtered goes on as the command that follows, under a seccomp filter
Every other mode prints container events, "ready", and ends on "quit" or the end of
its input. run and burst wait for "go" and print "half" and "done".
`

// environment is the world of one storm; tests swap it.
type environment struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
}

// errQuit is the cause of a context whose user asked for the end.
var errQuit = errors.New("quit")

func main() {
	// PR_SET_PDEATHSIG follows the death of the thread that forked, so the
	// goroutine that starts the root worker keeps its thread.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, environment{os.Stdin, os.Stdout, os.Stderr, os.Getenv}, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, env environment, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(env.stderr, usage)
		return errors.New("no mode")
	}
	if args[0] == "filtered" {
		return runFiltered(args[1:])
	}
	modes := map[string]func(context.Context, *session, *flag.FlagSet, []string) error{
		"run": runStorm, "burst": runBurst, "hostile": runHostile, "many": runMany,
	}
	mode, ok := modes[args[0]]
	if !ok {
		fmt.Fprint(env.stderr, usage)
		return fmt.Errorf("unknown mode %q", args[0])
	}
	flags := flag.NewFlagSet("storm "+args[0], flag.ContinueOnError)
	flags.SetOutput(env.stderr)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{out: json.NewEncoder(env.stdout), lines: make(chan string), getenv: env.getenv}
	go s.listen(ctx, env.stdin, cancel)

	err := mode(ctx, s, flags, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case s.storm == nil: // it ended before anything was built
		return nil
	}
	return s.emit(account.Event{Kind: account.EventGone})
}

// session is the conversation on standard input and output.
type session struct {
	out    *json.Encoder
	lines  chan string
	getenv func(string) string
	storm  *storm // set once something may exist
}

// listen feeds the lines of input; "quit" and its end cancel the context, also
// in the middle of a storm.
func (s *session) listen(ctx context.Context, input io.Reader, cancel context.CancelCauseFunc) {
	defer cancel(errQuit)
	scanner := bufio.NewScanner(input)
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "quit" {
			return
		}
		select {
		case s.lines <- line:
		case <-ctx.Done():
			return
		}
	}
}

// waitGo blocks until "go", or fails with the context's cause.
func (s *session) waitGo(ctx context.Context) error {
	for {
		select {
		case line := <-s.lines:
			if line == "go" {
				return nil
			}
			return fmt.Errorf("unknown command %q, want go or quit", line)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// waitQuit blocks until the end is asked for.
func (s *session) waitQuit(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (s *session) emit(event account.Event) error {
	if err := s.out.Encode(event); err != nil {
		return fmt.Errorf("write event %s: %w", event.Kind, err)
	}
	return nil
}

// workerPath is the C half: EYAS_STORM_WORKER, or storm-worker beside this program.
func (s *session) workerPath() (string, error) {
	if path := s.getenv("EYAS_STORM_WORKER"); path != "" {
		return path, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find storm-worker: %w", err)
	}
	return filepath.Join(filepath.Dir(self), "storm-worker"), nil
}
