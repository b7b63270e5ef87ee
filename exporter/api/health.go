package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// Health is how the agent itself fares.
type Health struct {
	Hooks             []Hook        `json:"hooks"`
	LastReconcile     time.Time     `json:"last_reconcile"` // zero: none yet
	ReconcileInterval time.Duration `json:"reconcile_interval_ns"`
	Drift             uint64        `json:"drift"`
	Runtime           *Runtime      `json:"runtime,omitempty"`    // nil: the agent is not to hear from one
	Logs              *LogWay       `json:"logs,omitempty"`       // nil: nobody's are told
	NSDelegate        *Flag         `json:"nsdelegate,omitempty"` // of the node's cgroup2; nil: not known
}

// LogWay says how lines of logs come to the agent.
type LogWay struct {
	Via string `json:"via"`           // kernel or file; "": not at all, or not yet
	Why string `json:"why,omitempty"` // not from the kernel
}

// Flag is a flag of the node, and since when the agent has seen it so.
type Flag struct {
	On    bool      `json:"on"`
	Since time.Time `json:"since"`
}

// Runtime tells how the agent hears from the container runtime.
type Runtime struct {
	Connected  bool     `json:"connected"`
	Socket     string   `json:"socket"`
	Unprepared int      `json:"unprepared"`       // containers that are to be sandboxes and lack something
	Names      []string `json:"unprepared_names"` // of some of them: namespace/pod/container
}

// Hook is one BPF program; see bpf.Hook.
type Hook struct {
	Name   string `json:"name"`
	Target string `json:"target"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Loss   string `json:"loss"`
	Lost   uint64 `json:"lost"`
	Rare   bool   `json:"rare,omitempty"` // nothing drives it but what it tells of
}

// WithHealth answers for the agent's health, and leaves all else to next.
func WithHealth(next http.Handler, health func() Health, log zerolog.Logger) http.Handler {
	s := &server{log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health", func(w http.ResponseWriter, _ *http.Request) { s.write(w, health()) })
	mux.Handle("/", next)
	return mux
}

// Health asks how the agent fares.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	err = c.get(ctx, "/v1/health", nil, &h)
	return h, err
}
