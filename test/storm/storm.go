package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/test/storm/account"
	"github.com/eyas-agent/eyas/test/storm/plan"
)

// node is one living process of the planned tree.
type node struct {
	plan.Node
	worker *worker
	// home is the container its pid namespace is: itself, or an ancestor for a
	// node that only carries a user namespace. nil is the host.
	home *node
	up   *node // the container above home's pid namespace; nil is the host

	// totals is written by whoever drives this node: one goroutine at a time.
	totals  account.Totals
	hostile *account.Hostile
}

// storm owns the root worker and through it every process. Its methods are for
// one goroutine, except those that drive distinct nodes.
type storm struct {
	hub   *hub
	root  *exec.Cmd
	rootW *worker
	nodes []*node // in the plan's order: parents first
	host  account.Totals
}

// newStorm starts the root worker. The process becomes a subreaper, so that
// close can wait for every descendant even when the root worker was killed.
func newStorm(ctx context.Context, workerPath string) (*storm, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become subreaper: %w", err)
	}
	h, err := newHub()
	if err != nil {
		return nil, err
	}
	s := &storm{hub: h}
	calls := h.expect(0)
	s.root = exec.Command(workerPath)
	s.root.Env = []string{"EYAS_STORM_APPLET=root", "EYAS_STORM_SOCKET=" + h.name}
	s.root.Stderr = os.Stderr
	s.root.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.root.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start worker: %w", err), h.listener.Close())
	}
	// A quit in the middle kills the root worker; its death kills the rest, and
	// every pending call fails.
	context.AfterFunc(ctx, func() { _ = s.root.Process.Kill() })
	select {
	case s.rootW = <-calls:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), s.close())
	}
	s.host.Forks, s.host.Execs, s.host.LiveProcesses = 1, 1, 1
	return s, nil
}

// close kills everything and returns when the last process is gone.
func (s *storm) close() error {
	err := s.hub.listener.Close()
	_ = s.root.Process.Kill() // it may be dead
	_ = s.root.Wait()         // killed, as wanted
	for {
		_, waitErr := unix.Wait4(-1, nil, unix.WALL, nil)
		if errors.Is(waitErr, unix.ECHILD) {
			return err
		}
		if waitErr != nil && !errors.Is(waitErr, unix.EINTR) {
			return errors.Join(err, fmt.Errorf("wait for descendants: %w", waitErr))
		}
	}
}

// build creates the planned tree, parents first. before, if not nil, runs in
// each new node when it is root of its namespaces and has not execed yet; the
// arguments it returns are those its exec gets.
func (s *storm) build(ctx context.Context, planned []plan.Node, before func(*node) ([]byte, error)) error {
	for _, p := range planned {
		n := &node{Node: p}
		if p.Parent > 0 {
			n.home = s.nodes[p.Parent-1].home
		}
		if p.Form.PID {
			n.up, n.home = n.home, n
		}
		if err := s.start(ctx, n, before); err != nil {
			return fmt.Errorf("build container %d (pid level %d, user level %d): %w", p.ID, p.PIDLevel, p.UserLevel, err)
		}
		s.nodes = append(s.nodes, n)
	}
	return nil
}

func (s *storm) start(ctx context.Context, n *node, before func(*node) ([]byte, error)) error {
	parent := s.rootW
	if n.Parent > 0 {
		parent = s.nodes[n.Parent-1].worker
	}
	calls := s.hub.expect(n.ID)
	if _, err := parent.call(ctx, "spawn %d %d", n.ID, cloneFlags(n.Form)); err != nil {
		return err
	}
	select {
	case n.worker = <-calls:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	born := s.totalsOf(n.home)
	born.Forks++
	born.LiveProcesses++
	if n.Form.User {
		for _, m := range []struct {
			file    string
			extents []account.Extent
		}{{"gid_map", n.GIDMap}, {"uid_map", n.UIDMap}} {
			text, err := plan.MapText(m.extents)
			if err != nil {
				return err
			}
			if _, err := parent.call(ctx, "map /proc/%d/%s\n%s", n.worker.pid, m.file, text); err != nil {
				return err
			}
		}
		if _, err := n.worker.call(ctx, "root"); err != nil {
			return err
		}
	}
	var args []byte
	if before != nil {
		var err error
		if args, err = before(n); err != nil {
			return err
		}
	}
	if n.Exec && n.Form.PID || len(args) > 0 {
		if _, err := n.worker.call(ctx, "reexec\n%s", args); err != nil {
			return err
		}
		born.Execs++
		n.Exec = true
	}
	return nil
}

// totalsOf is the account a task of this container goes to; nil is the host.
func (s *storm) totalsOf(n *node) *account.Totals {
	if n == nil {
		return &s.host
	}
	return &n.totals
}

func cloneFlags(f plan.Form) uintptr {
	var flags uintptr
	if f.PID {
		flags |= unix.CLONE_NEWPID
	}
	if f.User {
		flags |= unix.CLONE_NEWUSER
	}
	if f.Others {
		flags |= unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP
	}
	return flags
}

// hold leaves sleeping processes in a container, the last with the threads.
func (n *node) hold(ctx context.Context, processes, threads uint64) error {
	if processes == 0 {
		return nil
	}
	if _, err := n.worker.call(ctx, "hold %d %d", processes, threads); err != nil {
		return err
	}
	n.totals = n.totals.Add(account.Totals{
		Forks: processes, Threads: threads, LiveProcesses: processes, LiveThreads: threads,
	})
	return nil
}

// join has a process of the host enter the container, as an exec session does,
// and run one program there. The helper's own life is the host's. The container
// may storm meanwhile: its account is the caller's to change, by joined.
func (s *storm) join(ctx context.Context, n *node) error {
	user := 0
	if n.UserLevel > 0 {
		user = 1
	}
	if _, err := s.rootW.call(ctx, "join %d %d", n.worker.pid, user); err != nil {
		return err
	}
	s.host = s.host.Add(account.Totals{Forks: 1, ExitZero: 1})
	return nil
}

// joined is what one join adds to the container it entered.
func joined() account.Totals { return account.Totals{Forks: 1, Execs: 1, ExitZero: 1} }

// targets are the containers the storm goes over.
func (s *storm) targets() []*node {
	var list []*node
	for _, n := range s.nodes {
		if n.Target {
			list = append(list, n)
		}
	}
	return list
}

// containers are the nodes with a pid namespace of their own.
func (s *storm) containers() []*node {
	var list []*node
	for _, n := range s.nodes {
		if n.Form.PID {
			list = append(list, n)
		}
	}
	return list
}

func parseInts(fields []string) ([]int, error) {
	numbers := make([]int, 0, len(fields))
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("parse number: %w", err)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
