package history

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func TestOpenErrors(t *testing.T) {
	held := path(t)
	begin(t, Options{Path: held})
	dir := t.TempDir()
	file := filepath.Join(dir, "plain")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		o    Options
		is   error
		want []string
	}{
		"in use":           {Options{Path: held}, ErrLocked, []string{held, "stop the other eyas agent"}},
		"in use, to read":  {Options{Path: held, ReadOnly: true}, ErrLocked, []string{held, "stop the other eyas agent"}},
		"nothing to read":  {Options{Path: dir + "/none/h.db", ReadOnly: true}, os.ErrNotExist, []string{dir + "/none/h.db"}},
		"a directory":      {Options{Path: dir}, nil, []string{dir, "not a regular file", "--state-dir"}},
		"below a file":     {Options{Path: file + "/h.db"}, nil, []string{"create state directory", file, "--state-dir"}},
		"only to be read":  {Options{Path: "/proc/self/nothing"}, nil, []string{"/proc/self/nothing", "--state-dir"}},
		"empty, read only": {Options{Path: file, ReadOnly: true}, nil, []string{file}},
	} {
		tc.o.Boot = "boot-a"
		s, err := Open(tc.o)
		if err == nil {
			t.Errorf("%s: opened", name)
			s.Close()
			continue
		}
		if tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v is not %v", name, err, tc.is)
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
	if _, err := os.Stat(dir + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a reader made a directory")
	}
}

func TestReadOnly(t *testing.T) {
	file := path(t)
	s := begin(t, Options{Path: file})
	p := process(1, 1, "c", 1)
	s.PutProcess(p)
	s.Close()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, boot := range []string{"boot-a", "boot-b"} {
		s = begin(t, Options{Path: file, Boot: boot, ReadOnly: true})
		same(t, boot, []identity.ProcessRecord{p}, processes(t, s, 1, 9))
		_, ok := s.Process(identity.ProcessKey{PID: 1, Start: 1})
		if ok != (boot == "boot-a") {
			t.Errorf("%s: process of this boot: %v", boot, ok)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil || string(before) != string(after) {
		t.Errorf("the reader wrote: %v", err)
	}
	// Two may read at once.
	begin(t, Options{Path: file, ReadOnly: true})
	begin(t, Options{Path: file, ReadOnly: true})
}

// Run writes without being asked, and early when much has piled up.
func TestRun(t *testing.T) {
	for name, o := range map[string]Options{"by time": {FlushEvery: time.Millisecond}, "by number": {FlushEvery: time.Hour}} {
		o.Path = path(t)
		s := begin(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		for pid := identity.HostPID(1); pid <= flushAt+1; pid++ {
			s.PutProcess(process(pid, 1, "c", 1))
		}
		tick := time.NewTicker(time.Millisecond)
		for deadline := time.After(20 * time.Second); s.Stats().Written == 0; {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s: nothing was written", name)
			}
		}
		tick.Stop()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the disk does not take is given up and counted, the newest words on
// what is known are not.
func TestDropped(t *testing.T) {
	s := begin(t, Options{Path: path(t)})
	for pid := identity.HostPID(1); pid <= dropAt+3; pid++ {
		s.PutProcess(identity.ProcessRecord{PID: pid})
	}
	s.PutContainer(container("c", "", 1, 1, false))
	s.PutProcess(identity.ProcessRecord{PID: 1, Comm: "new"})
	same(t, "stats", Stats{Buffered: dropAt, Dropped: 4}, s.Stats())
	same(t, "newer words", []identity.ProcessRecord{{PID: 1, Comm: "new"}}, processes(t, s, 1, 1))
	s.pending = newPending()
}
