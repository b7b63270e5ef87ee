package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/eyas-agent/eyas/collectors/answers"
)

// traceBegun is the first line of a trace; there is no other.
type traceBegun struct {
	Missing map[string]string `json:"missing"` // hook: why it does not tell
}

// traceDenials lasts as long as the caller wants it to.
func (s *server) traceDenials(w http.ResponseWriter, r *http.Request) {
	begun := false
	err := s.q.TraceDenials(r.Context(), func(missing map[string]string) error {
		begun = true
		w.Header().Set("Content-Type", "application/x-ndjson")
		if err := json.NewEncoder(w).Encode(traceBegun{missing}); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})
	if err != nil && !begun {
		s.reply(w, nil, err)
	}
}

// TraceDenials has every refused call told until ctx ends. An agent that ends it
// earlier is an error.
func (c *Client) TraceDenials(ctx context.Context, began func(missing map[string]string) error) error {
	body, err := c.open(ctx, "/v1/denials/trace", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	var first traceBegun
	if err := dec.Decode(&first); err != nil {
		return fmt.Errorf("read answer of the agent: %w", err)
	}
	if err := began(first.Missing); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, dec.Buffered())
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("trace: %w", err)
	}
	return errors.New("the agent ended the trace: it has ended itself, or the trace lasted " + answers.MaxTrace.String())
}
