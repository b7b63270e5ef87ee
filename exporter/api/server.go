// Package api answers queries over a unix socket that only root can open.
//
// What enters: HTTP requests with JSON answers expected. What leaves: answers
// of collectors/answers. It changes nothing. Client is the other end; it has
// the same methods as answers.Answers, so that a command need not know whether
// a daemon or a snapshot of its own answers.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Querier answers the questions of people on call.
type Querier interface {
	PID(ctx context.Context, pid identity.HostPID) (identity.Identity, error)
	InnerPID(ctx context.Context, chain string, pid identity.PID) (identity.Identity, error)
	ID(ctx context.Context, q answers.IDQuery) (identity.IDAnswer, error)
	PS(ctx context.Context, chain string, yield func(identity.Identity) error) error
	Tree(ctx context.Context) ([]identity.TreeNode, error)
	Map(ctx context.Context, chain string) ([]identity.NSAnswer, error)
	OOM(ctx context.Context, chain string, since time.Time) ([]identity.OOMAnswer, error)
	Stats(ctx context.Context, chain string) ([]identity.StatsRow, error)
	Disks(ctx context.Context, chain string, files int) ([]answers.Disk, error)
	Denials(ctx context.Context, q answers.DenialQuery) ([]identity.DenialAnswer, error)
	TraceDenials(ctx context.Context, began func(missing map[string]string) error) error
	Lines(ctx context.Context, q answers.LogQuery, yield func(identity.LogAnswer) error) error
}

// Status says who is answering.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

type failure struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

// Codes of errors on the wire, by which the client restores the sentinel.
const (
	codeNotFound    = "not_found"
	codeNoContainer = "no_container"
	codeAmbiguous   = "ambiguous"
	codeBad         = "bad_request"
	codeInternal    = "internal"
	codeNoDenials   = "no_denials"
	codeNoLogs      = "no_logs"
)

// Listen opens the socket for root alone. A socket left by a dead agent is
// replaced, one with a living agent behind it is an error.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create socket directory (socket: %s): %w: choose another with --socket", path, err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("listen on socket %s: the path exists and is no socket: remove it or choose another with --socket", path)
		}
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			conn.Close()
			return nil, fmt.Errorf("listen on socket %s: another eyas agent answers there: stop it or choose another with --socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove stale socket: %w", err)
		}
	}
	// No moment in which others could connect.
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w: choose another with --socket", path, err)
	}
	return l, nil
}

// Handler serves the queries.
func Handler(q Querier, status Status, log zerolog.Logger) http.Handler {
	s := &server{q: q, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { s.write(w, status) })
	mux.HandleFunc("GET /v1/pid", s.pid)
	mux.HandleFunc("GET /v1/id", s.id)
	mux.HandleFunc("GET /v1/ps", s.ps)
	mux.HandleFunc("GET /v1/tree", func(w http.ResponseWriter, r *http.Request) {
		v, err := q.Tree(r.Context())
		s.reply(w, v, err)
	})
	mux.HandleFunc("GET /v1/map", func(w http.ResponseWriter, r *http.Request) {
		v, err := q.Map(r.Context(), r.URL.Query().Get("chain"))
		s.reply(w, v, err)
	})
	mux.HandleFunc("GET /v1/oom", s.oom)
	mux.HandleFunc("GET /v1/stats", func(w http.ResponseWriter, r *http.Request) {
		v, err := q.Stats(r.Context(), r.URL.Query().Get("chain"))
		s.reply(w, v, err)
	})
	mux.HandleFunc("GET /v1/disks", s.disks)
	mux.HandleFunc("GET /v1/denials", s.denials)
	mux.HandleFunc("GET /v1/denials/trace", s.traceDenials)
	mux.HandleFunc("GET /v1/logs", s.logs)
	return mux
}

type server struct {
	q   Querier
	log zerolog.Logger
}

var errBadRequest = errors.New("bad request")

func number(v url.Values, key string) (uint32, error) {
	n, err := strconv.ParseUint(v.Get(key), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: want a number from 0 to 4294967295, got %q", errBadRequest, key, v.Get(key))
	}
	return uint32(n), nil
}

func (s *server) pid(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	pid, err := number(v, "pid")
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	if chain := v.Get("in"); chain != "" {
		id, err := s.q.InnerPID(r.Context(), chain, identity.PID(pid))
		s.reply(w, id, err)
		return
	}
	id, err := s.q.PID(r.Context(), identity.HostPID(pid))
	s.reply(w, id, err)
}

func (s *server) id(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	id, err := number(v, "id")
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	switch kind := v.Get("kind"); kind {
	case "", "uid", "gid":
	default:
		s.reply(w, nil, fmt.Errorf("%w: kind: want uid or gid, got %q", errBadRequest, kind))
		return
	}
	q := answers.IDQuery{ID: id, GID: v.Get("kind") == "gid", In: v.Get("in")}
	if q.At, err = moment(v, "at"); err != nil {
		s.reply(w, nil, err)
		return
	}
	a, err := s.q.ID(r.Context(), q)
	s.reply(w, a, err)
}

// moment is a time, or zero when none is given.
func moment(v url.Values, key string) (time.Time, error) {
	text := v.Get(key)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, fmt.Errorf("%w: %s: want RFC 3339, got %q", errBadRequest, key, text)
	}
	return at, nil
}

func (s *server) denials(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := answers.DenialQuery{Chain: v.Get("chain")}
	if v.Has("pid") {
		pid, err := number(v, "pid")
		if err != nil {
			s.reply(w, nil, err)
			return
		}
		q.PID = identity.HostPID(pid)
	}
	refused, err := s.q.Denials(r.Context(), q)
	s.reply(w, refused, err)
}

func (s *server) oom(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	since, err := moment(v, "since")
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	kills, err := s.q.OOM(r.Context(), v.Get("chain"), since)
	s.reply(w, kills, err)
}

// ps streams: one JSON object per line, so that neither end holds them all.
func (s *server) ps(w http.ResponseWriter, r *http.Request) {
	enc := json.NewEncoder(w)
	begun := false
	err := s.q.PS(r.Context(), r.URL.Query().Get("chain"), func(id identity.Identity) error {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			begun = true
		}
		return enc.Encode(id)
	})
	switch {
	case err == nil:
	case !begun:
		s.reply(w, nil, err)
	default:
		// The status is sent; cutting the connection is the only way left to
		// say that the list is not whole.
		s.log.Warn().Err(err).Msg("process list cut off")
		panic(http.ErrAbortHandler)
	}
}

func (s *server) reply(w http.ResponseWriter, v any, err error) {
	if err == nil {
		s.write(w, v)
		return
	}
	status, code := http.StatusInternalServerError, codeInternal
	switch {
	case errors.Is(err, answers.ErrNotFound):
		status, code = http.StatusNotFound, codeNotFound
	case errors.Is(err, identity.ErrNoContainer):
		status, code = http.StatusNotFound, codeNoContainer
	case errors.Is(err, identity.ErrAmbiguous):
		status, code = http.StatusConflict, codeAmbiguous
	case errors.Is(err, errBadRequest):
		status, code = http.StatusBadRequest, codeBad
	case errors.Is(err, answers.ErrNoDenials):
		status, code = http.StatusServiceUnavailable, codeNoDenials
	case errors.Is(err, answers.ErrNoLogs):
		status, code = http.StatusServiceUnavailable, codeNoLogs
	default:
		s.log.Error().Err(err).Msg("query failed")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(failure{Error: err.Error(), Code: code}) // the client may be gone
}

func (s *server) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug().Err(err).Msg("client went away")
	}
}
