package kubelet

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/history"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// What cannot be read ends nobody's life, is logged in one line, and once.
func TestHostile(t *testing.T) {
	n := newNode(t)
	w, _ := n.agent("b1")
	n.write(podA, record(65536), at(-5))
	w.scan()
	n.write(podA, "{", at(1))
	n.write(podB, "\x1b[2J", at(1))
	n.write("a b\n", record(131072), at(1))
	n.write(strings.Repeat("x", 129), record(131072), at(1))
	for range 3 {
		n.now = n.now.Add(time.Second)
		w.scan()
	}
	same(t, "pods", lives{life(podA, 65536, "b1", -5, 3)}, n.pods(w))
	if log := n.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, `"records":4`) || strings.Contains(log, "\x1b") {
		t.Errorf("log: %s", log)
	}
	n.log.Reset()
	n.remove(podB)
	n.write("new", "[]", at(3))
	w.scan()
	w.scan()
	if log := n.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, `"records":1`) {
		t.Errorf("log: %s", log)
	}

	n.log.Reset()
	pods := filepath.Join(n.dir, "pods")
	n.must(errors.Join(os.RemoveAll(pods), os.WriteFile(pods, nil, 0o600)))
	w.scan()
	w.scan()
	if log := n.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "not a directory") {
		t.Errorf("log: %s", log)
	}
	same(t, "pods of a directory that cannot be read", lives{life(podA, 65536, "b1", -5, 3)}, n.pods(w))
}

// Clocks that are set end no life before it began.
func TestClock(t *testing.T) {
	n := newNode(t)
	w, _ := n.agent("b1")
	n.write(podA, record(65536), at(900)) // written by another clock
	w.scan()
	same(t, "from the future", lives{life(podA, 65536, "b1", 0, 0)}, n.pods(w))
	n.write(podA, record(131072), at(-900))
	second := life(podA, 131072, "b1", 0, 0)
	second.First = second.First.Add(1)
	same(t, "another range, from the past", lives{second, life(podA, 65536, "b1", 0, 0, 0)}, n.pods(w))
	n.remove(podA)
	n.now = at(-60)
	second.Gone, second.Last, second.GoneBy = true, at(0), at(0)
	same(t, "set back", lives{second, life(podA, 65536, "b1", 0, 0, 0)}, n.pods(w))
}

// A history that is damaged and set aside costs the dead, not the living.
func TestDamage(t *testing.T) {
	n := newNode(t)
	w, s := n.agent("b1")
	n.write(podA, record(65536), at(-5))
	n.write(podB, record(131072), at(-4))
	w.scan()
	n.remove(podB)
	w.scan()
	n.flush(s)
	n.must(os.WriteFile(n.file, bytes.Repeat([]byte("\xde\xad"), 1<<15), 0o600))
	w, s = n.agent("b1")
	same(t, "set aside", uint64(1), s.Stats().Damaged)
	same(t, "pods", lives{life(podA, 65536, "b1", -5, 0)}, n.pods(w))
}

// Without a memory, as for a look while no agent ever ran, there is what is.
func TestNoMemory(t *testing.T) {
	n := newNode(t)
	n.write(podA, record(65536), at(-5))
	w, err := New(Options{Root: n.dir, Boot: "b1", Now: func() time.Time { return n.now }, Log: zerolog.Nop()})
	n.must(err)
	same(t, "pods", lives{life(podA, 65536, "b1", -5, 0)}, n.pods(w))
	n.remove(podA)
	same(t, "gone", lives{}, n.pods(w))
}

// forgetful fails to remember.
type forgetful struct{ Memory }

func (forgetful) PodScan() time.Time                  { return time.Time{} }
func (forgetful) Pods(func(identity.PodRecord)) error { return history.ErrDamaged }
func (forgetful) PutPod(identity.PodRecord)           {}
func (forgetful) PutPodScan(time.Time)                {}

// A memory that cannot be read is said, and the watcher works.
func TestForgetful(t *testing.T) {
	n := newNode(t)
	n.write(podA, record(65536), at(-5))
	w, err := New(Options{Root: n.dir, Memory: forgetful{}, Log: zerolog.Nop()})
	if w == nil || !errors.Is(err, history.ErrDamaged) {
		t.Fatal(w, err)
	}
	if all, err := w.Pods(); len(all) != 1 || !errors.Is(err, history.ErrDamaged) {
		t.Error(all, err)
	}
}
