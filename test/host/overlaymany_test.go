//go:build host

package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/overlay"
)

const overlayMany = 2000

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

// many mounts overlayMany overlays, reads one byte of each and unmounts them; then
// it reads one of another.
func (w overlayWorker) many(in *bufio.Reader) error {
	upper := fmt.Sprintf("lowerdir=%s:%s", w.at("lower"), w.at("upper")) // read-only
	readByte := func(at string) error {
		fd, err := unix.Open(filepath.Join(at, "deleted"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Read(fd, make([]byte, 1))
		return err
	}
	fmt.Println("ready")
	if !told(in) {
		return nil
	}
	for i := range overlayMany {
		at := w.at(fmt.Sprint("many", i))
		if err := errors.Join(os.Mkdir(at, 0o755), unix.Mount("overlay", at, "overlay", 0, upper), readByte(at)); err != nil {
			return err
		}
	}
	for i := range overlayMany {
		if err := unix.Unmount(w.at(fmt.Sprint("many", i)), 0); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	if !told(in) {
		return nil
	}
	if err := readByte(w.at("merged")); err != nil {
		return err
	}
	fmt.Println("ready")
	told(in)
	return nil
}
