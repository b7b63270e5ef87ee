package denials

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
)

// The first who traces begins it, the last one ends it; meanwhile nobody is blind.
func TestTraceIsShared(t *testing.T) {
	n := newNode()
	n.refuses, n.poor = true, []bpf.Hook{{Name: "h", State: bpf.HookMissing, Reason: "why"}}
	n.hooks = []bpf.Hook{{Name: "denials_fork", State: bpf.HookMissing, Reason: "refused"}}
	c := n.with(0)
	if c.Blind() == "" {
		t.Fatal("not blind without a program")
	}
	trace := func() (stop func() error) {
		ctx, cancel := context.WithCancel(t.Context())
		on, done := make(chan map[string]string, 1), make(chan error, 1)
		go func() {
			done <- c.Trace(ctx, func(missing map[string]string) error { on <- missing; return nil })
		}()
		same(t, "missing", map[string]string{"h": "missing: why"}, <-on)
		return func() error { cancel(); return <-done }
	}
	first, second := trace(), trace()
	if c.Blind() != "" || n.traced != 1 {
		t.Errorf("%d begun; blind: %q", n.traced, c.Blind())
	}
	id := n.put(10, 10)
	n.rows[key(10, 1, bpf.DeniedCall, 13, bpf.CauseOther, 257)] = bpf.Denial{Count: 1, Time: 1, Syscall: 257}
	if err := c.Sync(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	records := c.Records()
	if len(records) != 1 || records[0].Container != id || records[0].Op != "call" || records[0].Syscall != syscallText(257) || strings.Contains(records[0].Syscall, " ") {
		t.Errorf("records: %+v", records)
	}
	if err := errors.Join(first(), nil); err != nil || n.ended != 0 {
		t.Errorf("ended %d times while one traces: %v", n.ended, err)
	}
	if err := second(); err != nil || n.ended != 1 || c.Blind() == "" {
		t.Errorf("ended %d times: %v", n.ended, err)
	}

	n.traceErr = errors.New("no")
	if err := c.Trace(t.Context(), nil); !errors.Is(err, n.traceErr) || c.Blind() == "" {
		t.Errorf("refused: %v", err)
	}
	n.traceErr = nil
	gone := errors.New("the asker is gone")
	if err := c.Trace(t.Context(), func(map[string]string) error { return gone }); !errors.Is(err, gone) || n.ended != 2 {
		t.Errorf("%v; ended %d times", err, n.ended)
	}
}

// The filter ends with the thread that it is on.
func TestDriveFiltered(t *testing.T) {
	for range 3 {
		if err := DriveFiltered(); err != nil {
			t.Fatal(err)
		}
	}
}
