package tracker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

const runtimeID = "33e9d68c4816aaaabbbbccccddddeeeeffff0000111122223333444455556666"

// fakeProc makes a process of a procfs; its start is that of task.
func fakeProc(t *testing.T, proc string, pid int, cgroup string) {
	t.Helper()
	dir := filepath.Join(proc, fmt.Sprint(pid))
	stat := fmt.Sprintf("%d (sh) S 1 1 1 0 -1 4194560 1 1 0 0 0 0 0 0 20 0 1 0 %d 1 1%s\n", pid, pid, strings.Repeat(" 0", 29))
	if err := errors.Join(
		os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644),
		os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::"+cgroup+"\n"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
}

// named returns the names of the table's containers, by pid namespace.
func named(tr *Tracker) map[uint32]string {
	all := map[uint32]string{}
	tr.View(func(table *identity.Table, _ map[string]int) {
		for _, c := range table.Containers() {
			all[c.PIDNS.Inum] = c.Name.Runtime + ":" + c.Name.ID
		}
	})
	return all
}

// A read that blocks for ever costs its container the name, and no other; the
// pid of another process names nobody.
func TestNamerDeadline(t *testing.T) {
	proc := t.TempDir()
	scope := func(s string) string { return "/system.slice/docker-" + s + runtimeID[len(s):] + ".scope" }
	fakeProc(t, proc, 100, "/")
	fakeProc(t, proc, 200, scope(""))
	fakeProc(t, proc, 300, scope("abc"))
	late := task(300, 1, 300)
	late.Start += 5e7 // of another process than the one in /proc
	slow := filepath.Join(proc, "100", "cgroup")
	if err := errors.Join(os.Remove(slow), unix.Mkfifo(slow, 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // let the goroutine go
		if f, err := os.OpenFile(slow, os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	})
	var log strings.Builder
	m := newMemory()
	n := &Namer{Proc: proc, Timeout: 50 * time.Millisecond, Log: zerolog.New(&log)}
	tr := New(Options{
		Source: newKernel(task(100, 1, 100), task(200, 1, 200), late), Table: identity.NewTable(identity.Options{}), Memory: m, Namer: n,
	})
	if err := tr.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, "names", map[uint32]string{100: ":", 200: "docker:" + runtimeID, 300: ":"}, named(tr))
	if !strings.Contains(log.String(), os.ErrDeadlineExceeded.Error()) {
		t.Errorf("the log does not tell: %s", &log)
	}
	made := 0
	for _, times := range m.made {
		made += times
	}
	check(t, "told the memory: three births, one name", 4, made)
}

// A container without a name is tried again at every comparison, but not for
// ever; what is kept of it goes with it.
func TestNamerRetries(t *testing.T) {
	proc := t.TempDir()
	k := newKernel(task(100, 1, 100), task(101, 100, 100), task(200, 1, 200))
	n := &Namer{Proc: proc, Log: zerolog.Nop()}
	tr := New(Options{Source: k, Table: identity.NewTable(identity.Options{}), Namer: n, Log: zerolog.Nop()})
	tries := func() map[uint32]int {
		all := map[uint32]int{}
		tr.View(func(table *identity.Table, _ map[string]int) {
			for _, c := range table.Containers() {
				all[c.PIDNS.Inum] = n.tries[c.ID]
			}
		})
		return all
	}
	step := func(why cause) {
		t.Helper()
		if err := tr.reconcile(why); err != nil {
			t.Fatal(err)
		}
	}
	step(first)
	step(asked)
	check(t, "once while it waits", map[uint32]int{100: 1, 200: 1}, tries())
	check(t, "queue", 2, len(n.queue))
	tr.NameAll(t.Context())
	check(t, "queue, done", 0, len(n.queue))
	fakeProc(t, proc, 200, "/system.slice/docker-"+runtimeID+".scope")
	for range 2 * maxNameTries {
		step(asked)
		tr.NameAll(t.Context())
	}
	// One has an id by now, but its runtime may yet write a name.
	check(t, "all tries", map[uint32]int{100: maxNameTries, 200: maxNameTries}, tries())
	check(t, "names", map[uint32]string{100: ":", 200: "docker:" + runtimeID}, named(tr))

	fakeProc(t, proc, 100, "/system.slice/docker-"+runtimeID+".scope")
	step(asked)
	tr.NameAll(t.Context())
	check(t, "given up", ":", named(tr)[100])
	k.do(func(k *kernel) { k.tasks = nil })
	step(asked)
	step(asked) // nobody told of their deaths
	check(t, "kept of the gone", 0, len(n.tries)+len(n.wait))
}

// The queue is bounded: what has no room is asked for again at the next sight.
func TestNamerQueue(t *testing.T) {
	n := &Namer{}
	n.init()
	for i := range maxNameQueue + 5 {
		n.push(fmt.Sprint(i))
	}
	check(t, "queue, tries", []int{maxNameQueue, maxNameQueue}, []int{len(n.queue), len(n.tries)})
}

// RunNamer names while the tracker runs, and ends with it.
func TestRunNamer(t *testing.T) {
	proc := t.TempDir()
	fakeProc(t, proc, 200, "/kubepods/burstable/pod0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f/"+runtimeID)
	k := newKernel()
	tr := follow(t, k, Options{Namer: &Namer{Proc: proc, Log: zerolog.Nop()}})
	done := make(chan error, 1)
	go func() { done <- tr.RunNamer(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	k.tell(fork(200, 1, 200))
	until(t, "a name", func() bool { return strings.HasSuffix(named(tr)[200], ":"+runtimeID) })
}

// Command lines of processes that are older than the agent come from /proc,
// bounded, and do not replace what an exec has told.
func TestArgs(t *testing.T) {
	proc := t.TempDir()
	for pid, args := range map[int]string{100: "sh\x00-c\x00\x1b[2J\x00", 101: "old\x00", 102: strings.Repeat("x", maxArgv+9), 103: ""} {
		fakeProc(t, proc, pid, "/")
		dir := filepath.Join(proc, fmt.Sprint(pid))
		if err := errors.Join(
			os.WriteFile(filepath.Join(dir, "cmdline"), []byte(args), 0o644), os.Symlink("/bin/"+args[:min(2, len(args))]+" (deleted)", filepath.Join(dir, "exe")),
		); err != nil {
			t.Fatal(err)
		}
	}
	told := task(101, 100, 100)
	told.Exe, told.Argv, told.HasArgs = "/bin/new", []string{"new"}, true
	m := newMemory()
	tr := New(Options{
		Source: newKernel(task(100, 1, 100), told, task(102, 100, 100), task(103, 100, 100), task(104, 100, 100)),
		Table:  identity.NewTable(identity.Options{}), Memory: m, Namer: &Namer{Proc: proc, Log: zerolog.Nop()}, Log: zerolog.Nop(),
	})
	if err := tr.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	type args struct {
		Exe  string
		Argv []string
		Cut  bool
	}
	got := map[identity.HostPID]args{}
	tr.View(func(table *identity.Table, _ map[string]int) {
		for _, p := range table.Processes() {
			got[p.Key.PID] = args{p.Exe, p.Argv, p.ArgvCut}
		}
	})
	check(t, "command lines", map[identity.HostPID]args{
		100: {"/bin/sh", []string{"sh", "-c", "\x1b[2J"}, false}, 101: {"/bin/new", []string{"new"}, false},
		102: {"/bin/xx", []string{strings.Repeat("x", maxArgv)}, true}, 103: {"/bin/", nil, false}, 104: {},
	}, got)
	check(t, "told the memory", map[identity.HostPID]int{100: 2, 101: 1, 102: 2, 103: 2, 104: 1}, m.seen)
}
