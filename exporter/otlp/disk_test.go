package otlp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// gone is a receiver that is not there yet.
func gone(t *testing.T, protocol string) *receiver {
	r := newReceiver(t, protocol, nil).start(t)
	r.close()
	return r
}

func diskOptions(t *testing.T, r *receiver) Options {
	o := options(r)
	o.DiskDir, o.DiskBytes = filepath.Join(t.TempDir(), "otlp"), minDiskBytes
	return o
}

// Lines that a receiver does not take survive a restart, all of their fields too.
func TestDiskSurvivesRestart(t *testing.T) {
	both(t, func(t *testing.T, protocol string) {
		r := gone(t, protocol)
		o := diskOptions(t, r)
		e, stop := run(t, o)
		e.Put(lines(numbered(0, 1000)...))
		until(t, "down", e.down)
		e.Put(lines(numbered(1000, 1500)...))
		until(t, "lines on disk", func() bool { return e.Stats().Disk.Records > 500 })
		start := time.Now()
		stop()
		if d := time.Since(start); d > o.Drain {
			t.Errorf("an end with a receiver that is known to be down took %s", d)
		}
		if s := e.Stats(); s.Disk.Records != 1500 || s.Memory.Records != 0 {
			t.Errorf("%+v", s)
		}

		again, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if s := again.Stats(); s.Put.Records != 1500 || s.Disk != s.Put || s.Put != e.Stats().Put {
			t.Errorf("found %+v, left %+v", s, e.Stats())
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}

		r.start(t)
		e, stop = run(t, o)
		until(t, "arrival", func() bool { return e.Stats().Sent.Records == 1500 })
		stop()
		// The first batch was under way when the others went to disk.
		got := map[string]bool{}
		for _, b := range r.bodies() {
			got[b] = true
		}
		if len(got) != 1500 || len(r.bodies()) != 1500 {
			t.Errorf("%d lines arrived, %d of them different", len(r.bodies()), len(got))
		}
		first := r.got[0].GetScopeLogs()[0].GetLogRecords()[0]
		if a := attrs(first.GetAttributes()); a["eyas.container.chain"] != "devbox/build" || a["eyas.user.id"] != int64(7) || a["process.vpid"] != int64(1) {
			t.Error(a)
		}
		if first.GetTimeUnixNano() != 1700000000123456789 || time.Since(time.Unix(0, int64(first.GetObservedTimeUnixNano()))) > time.Hour {
			t.Error(first)
		}
	})
}

// A crash loses what was under way and what came in the last moment, no more.
func TestDiskCrash(t *testing.T) {
	o := diskOptions(t, gone(t, GRPC))
	e, _ := run(t, o)
	e.Put(lines("under way"))
	until(t, "down", e.down)
	e.Put(lines(numbered(0, 10)...))
	until(t, "lines on disk", func() bool { return e.Stats().Disk.Records == 10 })
	b, err := os.ReadFile(filepath.Join(o.DiskDir, diskFile))
	if err != nil {
		t.Fatal(err)
	}
	o.DiskDir = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.DiskDir, diskFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, found, err := openDisk(o.DiskDir, o.DiskBytes, zerolog.Nop())
	if err != nil || found.Records != 10 {
		t.Error(found, err)
	}
}

// The file stays within its size, the newest lines stay in it, and those that went
// are counted.
func TestDiskBounded(t *testing.T) {
	d, _, err := openDisk(t.TempDir(), minDiskBytes, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	var in, out Count
	seed := uint64(1)
	for i := range 100 { // bodies that gzip cannot make smaller, of many sizes
		var all []string
		for range i%40 + 1 {
			var s strings.Builder
			for s.Len() < 8000 {
				seed = seed*6364136223846793005 + 1442695040888963407
				fmt.Fprintf(&s, "%016x", seed)
			}
			all = append(all, s.String())
		}
		b := newBatch(newEntries(lines(all...), time.Now()))
		pushed, err := d.put(b)
		if err != nil {
			t.Fatal(err)
		}
		in.add(b.Count)
		out.add(pushed)
		if i == 50 { // one under way stays
			if _, ok, err := d.peek(); err != nil || !ok {
				t.Fatal(err)
			}
		}
	}
	info, err := os.Stat(d.path)
	if err != nil || info.Size() > minDiskBytes || info.Size() < minDiskBytes/2 {
		t.Error(info.Size(), err)
	}
	b, ok, err := d.peek()
	if err != nil || !ok || len(b.entries) == 0 {
		t.Fatal("the batch under way was removed", err)
	}
	var left Count
	n := 0
	for ; ok; b, ok, err = d.peek() {
		left.add(b.Count)
		if n++; n > 100 || err != nil || d.remove(b.key) != nil {
			t.Fatal(n, err)
		}
	}
	in.sub(out)
	if left != in || out.Records == 0 || d.used.Load() != 0 {
		t.Errorf("left %+v, want %+v; pushed out %+v; %d bytes are used", left, in, out, d.used.Load())
	}
}
