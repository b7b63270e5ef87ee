package otlp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// options are quick ones.
func options(r *receiver) Options {
	return Options{
		Protocol: r.protocol, Endpoint: r.endpoint(), Timeout: 10 * time.Second, Every: 10 * time.Millisecond, Drain: 10 * time.Second,
		Backoff: Backoff{Initial: 10 * time.Millisecond, Max: 50 * time.Millisecond}, Log: zerolog.Nop(),
	}
}

// run runs an exporter; stop ends it, and returns when it has ended.
func run(t *testing.T, o Options) (e *Exporter, stop func()) {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, e.Close()); err != nil {
			t.Error(err)
		}
		balanced(t, e.Stats())
	})
	t.Cleanup(stop)
	return e, stop
}

// balanced fails the test unless every line is accounted for.
func balanced(t *testing.T, s Stats) {
	t.Helper()
	sum := s.Sent
	sum.add(s.Memory)
	sum.add(s.Disk)
	for _, d := range s.Dropped {
		sum.add(d)
		if d.Records < 0 || d.Bytes < 0 {
			t.Errorf("a negative count: %+v", s)
		}
	}
	if sum != s.Put || s.Memory.Records < 0 || s.Disk.Records < 0 || s.Sent.Records < 0 {
		t.Errorf("put is %+v, the rest is %+v: %+v", s.Put, sum, s)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// line is one of a nested container.
func line(text string) identity.LogLine {
	pid, uid := identity.PID(1), identity.UID(7)
	return identity.LogLine{
		Time: time.Unix(1700000000, 123456789), Container: "393dc72765dc", Stream: identity.Stdout, Seq: 3, Body: []byte(text),
		Via: identity.LogKernel, PID: 20671, PIDs: []identity.PID{20671, 7, 1}, UID: 200007, InnerUID: &uid, Comm: "sleep",
		Chain: []identity.Link{
			{Kind: "node", ID: "ed5ed647", Name: "node1", Runtime: "host"},
			{
				Kind: "container", ID: "33e9d68c4816", Name: "devbox", Runtime: "containerd", ContainerID: "0123456789abcdef",
				Image: "registry:5000/dev/box:v1@sha256:00", PodUID: "2ff1", Level: 1,
			},
			{Kind: "container", ID: "393dc72765dc", Name: "build", Runtime: "podman", ContainerID: "fedcba", Image: "busybox", Level: 2, PID: &pid},
		},
	}
}

func lines(texts ...string) (all []identity.LogLine) {
	for _, s := range texts {
		all = append(all, line(s))
	}
	return all
}

func numbered(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint("line ", i))
	}
	return all
}
