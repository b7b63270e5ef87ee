package api

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A trace lasts until the client has enough, or the agent ends it.
func TestTraceRoundTrip(t *testing.T) {
	o := &oracle{}
	c := dial(t, serve(t, o))
	ctx, cancel := context.WithCancel(t.Context())
	var missing map[string]string
	if err := c.TraceDenials(ctx, func(m map[string]string) error { missing = m; cancel(); return nil }); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(map[string]string{"hook": "why\x1b"}, missing); d != "" {
		t.Error(d)
	}
	ended := func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.asked == "trace ended" }
	for deadline := time.Now().Add(10 * time.Second); !ended(); {
		if time.Now().After(deadline) {
			t.Fatal("the agent goes on when nobody listens")
		}
		<-time.After(time.Millisecond)
	}
	began := func(map[string]string) error { return nil }
	o.cut = errors.New("over")
	if err := c.TraceDenials(t.Context(), began); err == nil || !strings.Contains(err.Error(), "the agent ended the trace") {
		t.Errorf("ended by the agent: %v", err)
	}
	o.err = errors.New("not here")
	if err := c.TraceDenials(t.Context(), began); err == nil || err.Error() != "not here" {
		t.Errorf("refused: %v", err)
	}
}
