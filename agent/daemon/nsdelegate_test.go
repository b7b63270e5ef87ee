package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/delegation"
)

// lines is a log.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func (l lines) drain() (all string) {
	for len(l) > 0 {
		all += <-l
	}
	return all
}

// Every change of the flag is told once, at its level, with the fix; and the
// metric and the health follow it.
func TestNSDelegate(t *testing.T) {
	const with, without, none = "rw,nsdelegate,memory_recursiveprot", "rw,memory_recursiveprot", ""
	const debug, info, warn, nothing = `"debug"`, `"info"`, `"warn"`, ""
	type step struct {
		options string
		level   string // of the one line; "": none
		has     string
		metric  string
	}
	for name, steps := range map[string][]step{
		"stripped": {
			{with, debug, "has nsdelegate", "1"}, {with, nothing, "", "1"}, {without, warn, "lost nsdelegate", "0"}, {without, nothing, "", "0"},
			{with, info, "again", "1"}, {with, nothing, "", "1"}, {without, warn, "mount -o remount,nsdelegate,memory_recursiveprot /sys/fs/cgroup", "0"},
		},
		"never there": {{without, warn, "lacks nsdelegate", "0"}, {without, nothing, "", "0"}, {with, info, "again", "1"}},
		"unreadable": {
			{with, debug, "", "1"}, {none, warn, "cannot be read", ""}, {none, nothing, "", ""}, {without, warn, "lacks nsdelegate", "0"},
			{none, warn, "cannot be read", ""}, {with, info, "", "1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			file := filepath.Join(proc, "1", "mountinfo")
			if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.Symlink("1", filepath.Join(proc, "self"))); err != nil {
				t.Fatal(err)
			}
			write := func(options string) {
				line := "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 " + options
				if options == none {
					line = "29 1 0:25 / / rw - ext4 /dev/sda rw"
				}
				if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				log := make(lines, 10)
				var changes atomic.Int32
				w := &nsdelegate{
					read:    func() (delegation.MountOptions, error) { return delegation.ReadMountOptions(proc) },
					changed: func() { changes.Add(1) }, log: zerolog.New(log),
				}
				if testutil.CollectAndCount(w) != 0 {
					t.Error("there is a metric before the first look")
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				wantChanges := int32(0)
				for i, s := range steps {
					write(s.options)
					if i == 0 {
						go func() { done <- w.run(ctx, lookForNSDelegate) }()
					} else {
						<-time.After(lookForNSDelegate) // of synctest's clock
					}
					synctest.Wait()
					got := log.drain()
					if s.level == nothing && got != "" || s.level != nothing && (strings.Count(got, "\n") != 1 || !strings.Contains(got, `"level":`+s.level) || !strings.Contains(got, s.has)) {
						t.Errorf("step %d: %s", i, got)
					}
					if i > 0 && s.level != nothing && s.options != none {
						wantChanges++
					}
					switch f := w.state(); {
					case s.metric == "":
						if n := testutil.CollectAndCount(w); n != 0 || f != nil {
							t.Errorf("step %d: %d metrics, %+v", i, n, f)
						}
					case f == nil || f.On != (s.metric == "1"):
						t.Errorf("step %d: %+v", i, f)
					case s.level != nothing && !f.Since.Equal(time.Now()):
						t.Errorf("step %d: since %s, want %s", i, f.Since, time.Now())
					default:
						if v := testutil.ToFloat64(w); v != map[string]float64{"0": 0, "1": 1}[s.metric] {
							t.Errorf("step %d: metric %v, want %s", i, v, s.metric)
						}
					}
				}
				if n := changes.Load(); n != wantChanges {
					t.Errorf("%d changes told, want %d", n, wantChanges)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
