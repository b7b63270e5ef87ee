package tracker

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Bounds of what is kept of a command line; the same as the kernel side's
// (EYAS_EXE_MAX, EYAS_ARGV_MAX of bpf/wire.h).
const (
	maxExe  = 256
	maxArgv = 512
)

// RunArgs reads the command lines of processes older than the agent from
// /proc until ctx ends; those that start later tell theirs at exec.
func (t *Tracker) RunArgs(ctx context.Context, proc string) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wantArgs:
			t.fillArgs(proc)
		}
	}
}

// askArgs wakes RunArgs; it never blocks.
func (t *Tracker) askArgs() {
	select {
	case t.wantArgs <- struct{}{}:
	default:
	}
}

func (t *Tracker) fillArgs(proc string) {
	var keys []identity.ProcessKey
	t.View(func(table *identity.Table, _ map[string]int) {
		for _, p := range table.Processes() {
			if p.Exe == "" && len(p.Argv) == 0 {
				keys = append(keys, p.Key)
			}
		}
	})
	for _, key := range keys {
		exe, argv, cut := readArgs(proc, key.PID)
		if exe == "" && len(argv) == 0 {
			continue
		}
		t.View(func(table *identity.Table, _ map[string]int) {
			p := table.Process(key.PID)
			// Whoever has the pid now must be who had it, and must not have
			// told meanwhile: an exec's own words are better.
			if p == nil || p.Key != key || p.Exe != "" || len(p.Argv) > 0 {
				return
			}
			p.Exe, p.Argv, p.ArgvCut = exe, argv, cut
			if t.o.Memory != nil {
				t.o.Memory.PutProcess(p.Record(t.o.Clock))
			}
		})
	}
}

// readArgs reads a bounded part of a command line. The process can write it
// itself, so it is hostile text like the rest.
func readArgs(proc string, pid identity.HostPID) (exe string, argv []string, cut bool) {
	dir := filepath.Join(proc, strconv.FormatUint(uint64(pid), 10))
	if link, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		exe = strings.TrimSuffix(link[:min(len(link), maxExe)], " (deleted)")
	}
	f, err := os.Open(filepath.Join(dir, "cmdline"))
	if err != nil {
		return exe, nil, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxArgv+1))
	if err != nil || len(b) == 0 {
		return exe, nil, false
	}
	if len(b) > maxArgv {
		b, cut = b[:maxArgv], true
	}
	for _, a := range bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		argv = append(argv, string(a))
	}
	return exe, argv, cut
}
