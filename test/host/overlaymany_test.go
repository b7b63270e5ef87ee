//go:build host

package host

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/overlay"
)

// nobody is a table that knows no container.
type nobody struct{ table *identity.Table }

func (n nobody) View(f func(*identity.Table, map[string]int)) { f(n.table, nil) }

// TestOverlaysThatGo: overlays for which there is no room are counted as lost,
// each call, and those that go leave nothing in the kernel.
func TestOverlaysThatGo(t *testing.T) {
	const rows = overlayMany / 2
	m, err := bpf.OpenOverlay(bpf.OverlayOptions{Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	m.Attach()
	if !m.Attached() {
		if why := m.Hooks()[0].Reason; strings.Contains(why, refused) {
			t.Skip(why)
		}
		t.Fatal(m.Hooks()[0].Reason)
	}
	_, step := startOverlayWork(t, "many")
	entries := func() int {
		t.Helper()
		n, err := m.Entries()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := entries() // what this machine's own nested processes do
	step()
	if n := entries(); n != rows || before > rows/10 {
		t.Fatalf("%d rows, before %d, want %d", n, before, rows)
	}
	lost := map[string]uint64{}
	for _, h := range m.Hooks() {
		lost[h.Name] = h.LostCounts
	}
	for _, hook := range []string{"overlay_open", "overlay_read"} {
		if want := uint64(overlayMany - rows + before); lost[hook] < uint64(overlayMany-rows) || lost[hook] > want {
			t.Errorf("%s lost %d calls, want %d", hook, lost[hook], want)
		}
	}

	c := overlay.New(overlay.Options{
		Source: m, Table: nobody{identity.NewTable(identity.Options{})}, Every: 100 * time.Millisecond, Log: zerolog.Nop(),
		Drive: func() error { return nil }, // the work has driven all there is to see
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	if err := poll(ctx, nil, func() error {
		if n := entries(); n > 0 {
			return fmt.Errorf("%d rows are left", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	step()
	if n := entries(); n != 1 {
		t.Errorf("%d rows after another read, want 1", n)
	}
}
