package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// ErrDown means that no agent listens on the socket.
var ErrDown = errors.New("no eyas agent answers")

// Client asks a running agent. Safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

var _ Querier = (*Client)(nil)

// Dial connects to the agent behind a socket; ErrDown when there is none.
func Dial(ctx context.Context, socket string) (*Client, Status, error) {
	c := &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var s Status
	if err := c.get(ctx, "/v1/status", nil, &s); err != nil {
		return nil, s, err
	}
	return c, s, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// PID asks who has a host pid.
func (c *Client) PID(ctx context.Context, pid identity.HostPID) (id identity.Identity, err error) {
	err = c.get(ctx, "/v1/pid", url.Values{"pid": {str(uint32(pid))}}, &id)
	return id, err
}

// InnerPID asks who has a pid inside a container.
func (c *Client) InnerPID(ctx context.Context, chain string, pid identity.PID) (id identity.Identity, err error) {
	err = c.get(ctx, "/v1/pid", url.Values{"pid": {str(uint32(pid))}, "in": {chain}}, &id)
	return id, err
}

// ID asks whose a uid or gid is.
func (c *Client) ID(ctx context.Context, q answers.IDQuery) (a identity.IDAnswer, err error) {
	v := url.Values{"id": {str(q.ID)}, "kind": {"uid"}}
	if q.GID {
		v.Set("kind", "gid")
	}
	if q.In != "" {
		v.Set("in", q.In)
	}
	if !q.At.IsZero() {
		v.Set("at", q.At.Format(time.RFC3339Nano))
	}
	err = c.get(ctx, "/v1/id", v, &a)
	return a, err
}

// PS asks for the processes of a container, or all.
func (c *Client) PS(ctx context.Context, chain string, yield func(identity.Identity) error) error {
	body, err := c.open(ctx, "/v1/ps", url.Values{"chain": {chain}})
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		var id identity.Identity
		if err := dec.Decode(&id); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read process list: %w", err)
		}
		if err := yield(id); err != nil {
			return err
		}
	}
}

// Tree asks for the containers.
func (c *Client) Tree(ctx context.Context) (t []identity.TreeNode, err error) {
	err = c.get(ctx, "/v1/tree", nil, &t)
	return t, err
}

// Map asks for the user namespaces.
func (c *Client) Map(ctx context.Context, chain string) (m []identity.NSAnswer, err error) {
	err = c.get(ctx, "/v1/map", url.Values{"chain": {chain}}, &m)
	return m, err
}

// OOM asks for the OOM kills since a time.
func (c *Client) OOM(ctx context.Context, chain string, since time.Time) (k []identity.OOMAnswer, err error) {
	v := url.Values{"chain": {chain}}
	if !since.IsZero() {
		v.Set("since", since.Format(time.RFC3339Nano))
	}
	err = c.get(ctx, "/v1/oom", v, &k)
	return k, err
}

// Stats asks what containers use and have done.
func (c *Client) Stats(ctx context.Context, chain string) (r []identity.StatsRow, err error) {
	err = c.get(ctx, "/v1/stats", url.Values{"chain": {chain}}, &r)
	return r, err
}

// Denials asks what containers were refused.
func (c *Client) Denials(ctx context.Context, q answers.DenialQuery) (d []identity.DenialAnswer, err error) {
	v := url.Values{"chain": {q.Chain}}
	if q.PID != 0 {
		v.Set("pid", str(uint32(q.PID)))
	}
	err = c.get(ctx, "/v1/denials", v, &d)
	return d, err
}

func str(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func (c *Client) get(ctx context.Context, path string, v url.Values, out any) error {
	body, err := c.open(ctx, path, v)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("read answer of the agent: %w", err)
	}
	return nil
}

func (c *Client) open(ctx context.Context, path string, v url.Values) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "eyas", Path: path, RawQuery: v.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("build query: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("%w on %s: %w", ErrDown, c.socket, op.Err)
		}
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var f failure
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&f); err != nil {
		return nil, fmt.Errorf("ask the agent: %s", resp.Status)
	}
	return nil, remote(f)
}

// remoteError is an error of the agent; its text stands for itself.
type remoteError struct {
	text string
	kind error
}

func (e remoteError) Error() string { return e.text }
func (e remoteError) Unwrap() error { return e.kind }

func remote(f failure) error {
	kinds := map[string]error{
		codeNotFound: answers.ErrNotFound, codeNoContainer: identity.ErrNoContainer, codeAmbiguous: identity.ErrAmbiguous,
		codeNoDenials: answers.ErrNoDenials, codeNoLogs: answers.ErrNoLogs,
	}
	return remoteError{f.Error, kinds[f.Code]}
}
