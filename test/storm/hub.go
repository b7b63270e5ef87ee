package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/test/storm/account"
)

// hub takes the calls of the workers. It listens on an abstract unix socket,
// which belongs to a network namespace and no file system, so that a worker
// reaches it from whatever mount namespace it sits in.
type hub struct {
	listener *net.UnixListener
	name     string

	mu      sync.Mutex
	waiting map[string]chan *worker // by the node's id
}

func newHub() (*hub, error) {
	name := "eyas-storm-" + strings.ToLower(rand.Text())
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: "@" + name, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen for workers: %w", err)
	}
	h := &hub{listener: listener, name: name, waiting: map[string]chan *worker{}}
	go h.accept()
	return h, nil
}

// accept runs until the listener is closed.
func (h *hub) accept() {
	for {
		conn, err := h.listener.AcceptUnix()
		if err != nil {
			return
		}
		go h.greet(conn)
	}
}

// greet hands a new connection to whoever expects its node, and drops strangers.
func (h *hub) greet(conn *net.UnixConn) {
	w := &worker{conn: conn, buffer: make([]byte, 4096)}
	node, err := w.receive()
	if err == nil {
		w.pid, err = peerPID(conn)
	}
	node, isHello := strings.CutPrefix(node, "hello ")
	h.mu.Lock()
	expected := h.waiting[node]
	delete(h.waiting, node)
	h.mu.Unlock()
	if err != nil || !isHello || expected == nil {
		conn.Close()
		return
	}
	expected <- w
}

// expect must be called before the worker is started; the channel then yields it.
func (h *hub) expect(node int) <-chan *worker {
	calls := make(chan *worker, 1)
	h.mu.Lock()
	h.waiting[fmt.Sprint(node)] = calls
	h.mu.Unlock()
	return calls
}

// peerPID asks the kernel who connected: the pid is translated into our own
// namespace, so no worker's word is needed (SO_PEERCRED, unix(7)).
func peerPID(conn *net.UnixConn) (account.HostPID, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("read peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, fmt.Errorf("read peer credentials: %w", err)
	}
	return account.HostPID(cred.Pid), nil
}

// worker is the connection to one process of the tree. Calls take turns.
type worker struct {
	conn   *net.UnixConn
	pid    account.HostPID
	mu     sync.Mutex
	buffer []byte
}

// call sends one command and returns what follows "ok". A worker that died, or
// a cancelled context (which kills the workers), is an error.
func (w *worker) call(ctx context.Context, format string, args ...any) (string, error) {
	command := fmt.Sprintf(format, args...)
	verb, _, _ := strings.Cut(command, " ")
	verb, _, _ = strings.Cut(verb, "\n")
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", context.Cause(ctx)
	}
	if _, err := w.conn.Write([]byte(command)); err != nil {
		return "", fmt.Errorf("send %s to worker %d: %w", verb, w.pid, err)
	}
	answer, err := w.receive()
	if err != nil {
		return "", fmt.Errorf("wait for %s of worker %d: %w", verb, w.pid, err)
	}
	if rest, ok := strings.CutPrefix(answer, "ok"); ok {
		return strings.TrimSpace(rest), nil
	}
	return "", fmt.Errorf("%s in worker %d: %s", verb, w.pid, strings.TrimPrefix(answer, "err "))
}

func (w *worker) receive() (string, error) {
	n, err := w.conn.Read(w.buffer)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", net.ErrClosed
	}
	return string(bytes.TrimSpace(w.buffer[:n])), nil
}
