//go:build host

package delegation

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

func ownCgroup(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(p)
		}
	}
	t.Fatal("in no cgroup of cgroup2")
	return ""
}

// Priming goes on until it is told to stop, and moves nothing.
func TestPrime(t *testing.T) {
	r := newRig(t)
	before := ownCgroup(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.h.Prime(ctx, "/proc") }()
	c, parked := r.sandbox("c") // goes on meanwhile
	steps, err := r.h.Delegate(t.Context(), r.request(c))
	if err != nil {
		t.Fatal(steps, err)
	}
	parked.want(0, "child", "", "")
	select {
	case err := <-done:
		t.Fatalf("ended by itself: %v", err)
	default:
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if now := ownCgroup(t); now != before {
		t.Errorf("moved from %s to %s", before, now)
	}
	// To the path that it sees in a namespace of its own it would move itself away.
	proc := t.TempDir()
	if err := errors.Join(os.MkdirAll(proc+"/self/ns", 0o700), os.WriteFile(proc+"/self/ns/cgroup", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := r.h.Prime(t.Context(), proc); !errors.Is(err, ErrRefused) {
		t.Errorf("in another cgroup namespace: %v", err)
	}
}
