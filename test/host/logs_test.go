//go:build host

package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// logged is what a file of logs-output has, by container and stream.
type logged struct {
	text    map[string]string // lines put together as they were written
	records map[string]uint64 // dropped
	bytes   map[string]uint64
	seq     map[string]uint64
	lines   []identity.LogAnswer
}

func readLogged(t *testing.T, file string) logged {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := logged{map[string]string{}, map[string]uint64{}, map[string]uint64{}, map[string]uint64{}, nil}
	texts := map[string]*strings.Builder{}
	dec := json.NewDecoder(bufio.NewReader(f))
	for {
		var l identity.LogAnswer
		if err := dec.Decode(&l); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // being written
			break
		} else if err != nil {
			t.Fatal(err)
		}
		k := l.Container + " " + string(l.Stream)
		if all.seq[k]++; l.Seq != all.seq[k] {
			t.Errorf("%s: line %d comes after %d", k, l.Seq, all.seq[k]-1)
			all.seq[k] = l.Seq
		}
		all.records[k] += l.DroppedRecords
		all.bytes[k] += l.DroppedBytes
		if texts[k] == nil {
			texts[k] = &strings.Builder{}
		}
		body := []byte(l.Body)
		if l.Raw != nil {
			body = l.Raw
		}
		texts[k].Write(body)
		if !l.Partial {
			texts[k].WriteByte('\n')
		}
		all.lines = append(all.lines, l)
	}
	for k, b := range texts {
		all.text[k] = b.String()
	}
	return all
}

// nestedShell runs a script as the first process of a pid namespace, and returns what it
// wrote.
func nestedShell(t *testing.T, script string) (pid int, stdout, stderr string) {
	t.Helper()
	c := exec.Command("sh", "-c", script)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return c.Process.Pid, out.String(), errs.String()
}

// wait reads the file until ok, and returns what it then has.
func (a *agent) waitLogged(file string, ok func(logged) error) logged {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 2*time.Minute)
	defer cancel()
	var got logged
	if err := poll(ctx, a.done, func() error {
		got = readLogged(a.t.(*testing.T), file)
		return ok(got)
	}); err != nil {
		a.t.Errorf("what is told: %v", err)
	}
	return got
}

// of returns the container of a host pid, by the lines that it wrote.
func (l logged) of(pid int) string {
	for _, x := range l.lines {
		if int(x.PID) == pid {
			return x.Container
		}
	}
	return ""
}

// TestLogs compares what containers write with what eyas has: nothing is missing, twice
// or out of order, from the first byte to the last.
func TestLogs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines")
	a := startAgent(t, "", "--logs", "all", "--logs-output", file, "--logs-rate", "1GiB", "--logs-burst", "1GiB", "--logs-ring-bytes", "64MiB")
	logHooks(t, a)

	type one struct {
		pid       int
		out, errs string
	}
	scripts := []string{
		"seq 1 100000 & seq 200001 300000 >&2; wait",
		"printf first; i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo out $i; echo err $i >&2; done; printf last; printf 'end\\377' >&2",
		"head -c 200000 /dev/zero | tr '\\0' x; echo; echo two >&2", // a line of 200000
		"echo short",                      // lives for a few ms
		"echo a; exec >/dev/null; echo b", // a file of its own is none of it
		"echo `echo inner | cat`; unshare --pid --fork sh -c 'echo deeper' | cat",
	}
	ran := make([]one, len(scripts))
	var wg sync.WaitGroup
	for i, s := range scripts {
		wg.Go(func() { ran[i].pid, ran[i].out, ran[i].errs = nestedShell(t, s) })
	}
	wg.Wait()
	want := 0
	for _, r := range ran {
		want += len(r.out) + len(r.errs)
	}
	got := a.waitLogged(file, func(l logged) error {
		n := 0
		for k, s := range l.text {
			n += len(s) + int(l.bytes[k])
		}
		if n < want {
			return fmt.Errorf("%d bytes of %d", n, want)
		}
		return nil
	})
	byText := map[string]bool{}
	for k, s := range got.text {
		byText[s] = true
		if got.bytes[k] != 0 {
			t.Errorf("%s: %d bytes were dropped", k, got.bytes[k])
		}
	}
	for i, r := range ran {
		for _, s := range []string{r.out, r.errs} {
			if s != "" && !byText[s] {
				t.Errorf("%s: what it wrote (%d bytes) is not told as it was: %.300q", scripts[i], len(s), near(s, got.text))
			}
			delete(byText, s)
		}
	}
	if !byText["deeper\n"] {
		t.Error("the container inside one is not told of")
	}
	delete(byText, "deeper\n")
	for s := range byText {
		t.Errorf("told of what nobody wrote: %.200q", s)
	}
	for _, l := range got.lines {
		last := l.Chain[len(l.Chain)-1]
		if l.Via != identity.LogKernel || last.ID != l.Container || len(l.PIDs) < 2 || l.PIDs[0] != identity.PID(l.PID) || l.InnerUID == nil || l.Comm == "" {
			t.Fatalf("line %+v", l)
		}
	}
	if m := total(a.families(), "eyas_hook_missed_total", "hook", "logs_write"); m != 0 {
		t.Logf("the kernel skipped %v runs", m)
	}
	stdout, stderr, code := a.eyas("logs", "-o", "json")
	if code != 0 || !strings.Contains(stdout, `"body":"short"`) {
		t.Errorf("eyas logs: %d %s %.300s", code, stderr, stdout)
	}
}
