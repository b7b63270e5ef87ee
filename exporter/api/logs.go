package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// logs streams: one JSON object per line.
func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := answers.LogQuery{Chain: v.Get("chain"), Stream: identity.LogStream(v.Get("stream")), Follow: v.Get("follow") == "true"}
	var err error
	if q.Since, err = moment(v, "since"); err != nil {
		s.reply(w, nil, err)
		return
	}
	switch q.Stream {
	case "", identity.Stdout, identity.Stderr:
	default:
		s.reply(w, nil, fmt.Errorf("%w: stream: want stdout or stderr, got %q", errBadRequest, q.Stream))
		return
	}
	enc := json.NewEncoder(w)
	begun := false
	err = s.q.Lines(r.Context(), q, func(l identity.LogAnswer) error {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			begun = true
		}
		if err := enc.Encode(l); err != nil {
			return err
		}
		if q.Follow {
			return http.NewResponseController(w).Flush()
		}
		return nil
	})
	switch {
	case err == nil || r.Context().Err() != nil:
	case !begun:
		s.reply(w, nil, err)
	default: // as for ps
		s.log.Warn().Err(err).Msg("log lines cut off")
		panic(http.ErrAbortHandler)
	}
}

// Lines asks for log lines.
func (c *Client) Lines(ctx context.Context, q answers.LogQuery, yield func(identity.LogAnswer) error) error {
	v := url.Values{"chain": {q.Chain}, "stream": {string(q.Stream)}}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	body, err := c.open(ctx, "/v1/logs", v)
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		var l identity.LogAnswer
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read log lines: %w", err)
		}
		if err := yield(l); err != nil {
			return err
		}
	}
}
