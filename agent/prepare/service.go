package prepare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Service is what the commands ask for: of a Preparer in this process, or of
// the agent behind a socket.
type Service interface {
	PreparePID(ctx context.Context, r PIDRequest) (Result, error)
	Release(ctx context.Context, id string, o ReleaseOptions) (Result, error)
	Leases(ctx context.Context) (Leases, error)
}

var (
	_ Service = (*Preparer)(nil)
	_ Service = (*Remote)(nil)
)

// PIDRequest asks to prepare the container of a process.
type PIDRequest struct {
	PID     identity.HostPID `json:"pid"`
	Profile string           `json:"profile,omitempty"` // of the Preparer's configuration; "": its default
	DryRun  bool             `json:"dry_run"`
	// UID and GID are those of the container's user, as the container has them.
	// nil: the process's own, which runc and crun set before they wait to start it.
	UID *identity.UID `json:"uid,omitempty"`
	GID *identity.GID `json:"gid,omitempty"`
}

// PreparePID prepares the container that a process of the host is in.
func (p *Preparer) PreparePID(ctx context.Context, r PIDRequest) (Result, error) {
	profile, err := p.profile(r.Profile)
	if err != nil {
		return Result{}, err
	}
	t, err := Describe(p.o.Host.Proc, p.o.Mount, r.PID)
	if err != nil {
		return Result{}, err
	}
	if r.UID != nil {
		uid, ok := t.UIDs.ToHost(*r.UID)
		if !ok {
			return Result{}, fmt.Errorf("uid %d is not mapped in the container of pid %d: choose one of its uid_map", *r.UID, r.PID)
		}
		t.UID = uid
	}
	if r.GID != nil {
		gid, ok := t.GIDs.ToHost(*r.GID)
		if !ok {
			return Result{}, fmt.Errorf("gid %d is not mapped in the container of pid %d: choose one of its gid_map", *r.GID, r.PID)
		}
		t.GID = gid
	}
	if r.DryRun {
		return p.Plan(ctx, t, profile)
	}
	return p.Prepare(ctx, t, profile)
}

// Paths of the agent's socket.
const (
	PathPrepare = "/v1/prepare"
	PathRelease = "/v1/release"
	PathLeases  = "/v1/leases"
)

const maxRequest = 64 << 10

type releaseRequest struct {
	ID string `json:"id"`
	ReleaseOptions
}

type failure struct {
	Error string `json:"error"`
}

// Handler serves a Service on the three paths. The socket is root's alone.
func Handler(s Service) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+PathPrepare, func(w http.ResponseWriter, r *http.Request) {
		var q PIDRequest
		if err := decode(w, r, &q); err != nil {
			reply(w, nil, err)
			return
		}
		out, err := s.PreparePID(r.Context(), q)
		reply(w, out, err)
	})
	mux.HandleFunc("POST "+PathRelease, func(w http.ResponseWriter, r *http.Request) {
		var q releaseRequest
		if err := decode(w, r, &q); err != nil {
			reply(w, nil, err)
			return
		}
		out, err := s.Release(r.Context(), q.ID, q.ReleaseOptions)
		reply(w, out, err)
	})
	mux.HandleFunc("GET "+PathLeases, func(w http.ResponseWriter, r *http.Request) {
		out, err := s.Leases(r.Context())
		reply(w, out, err)
	})
	return mux
}

func decode(w http.ResponseWriter, r *http.Request, to any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	return nil
}

func reply(w http.ResponseWriter, out any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		out = failure{err.Error()}
	}
	_ = json.NewEncoder(w).Encode(out) // the client is gone
}

// Remote asks the agent behind a socket. Safe for concurrent use.
type Remote struct{ http *http.Client }

// NewRemote returns a Remote; it connects when asked something.
func NewRemote(socket string) *Remote {
	return &Remote{&http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}},
	}}
}

// PreparePID implements Service.
func (m *Remote) PreparePID(ctx context.Context, r PIDRequest) (out Result, err error) {
	err = m.call(ctx, http.MethodPost, PathPrepare, r, &out)
	return out, err
}

// Release implements Service.
func (m *Remote) Release(ctx context.Context, id string, o ReleaseOptions) (out Result, err error) {
	err = m.call(ctx, http.MethodPost, PathRelease, releaseRequest{id, o}, &out)
	return out, err
}

// Leases implements Service.
func (m *Remote) Leases(ctx context.Context) (out Leases, err error) {
	err = m.call(ctx, http.MethodGet, PathLeases, nil, &out)
	return out, err
}

func (m *Remote) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, "http://eyas"+path, body)
	if err != nil {
		return err
	}
	resp, err := m.http.Do(q)
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var f failure
		if json.NewDecoder(io.LimitReader(resp.Body, maxRequest)).Decode(&f) == nil && f.Error != "" {
			return errors.New(f.Error)
		}
		return fmt.Errorf("ask the agent: %s: is it of another version?", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
