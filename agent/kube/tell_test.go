package kube

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func (k *Kube) fate(name string) uint64 { return k.events.fates[name].Load() }

func outcome(reason, message string) Outcome {
	return Outcome{Namespace: "team", Pod: "web", UID: "uid-web", Container: "app", Reason: reason, Message: message}
}

// What is said twice is one Event that counts; who says much is cut short.
func TestEvents(t *testing.T) {
	s := newServer(t)
	k, _ := start(t, s.options(t))
	k.Tell(outcome(Prepared, "it is"))
	k.Tell(outcome(Unprepared, "it is not"))
	k.Tell(outcome(Unprepared, "it is not"))
	until(t, "three are sent", func() bool { return k.fate(fateSent) == 3 })
	s.do(func(s *server) {
		if len(s.events) != 2 || len(s.patched) != 1 || s.patched[0] != s.events[1].Name {
			t.Fatalf("%d Events, patched %q", len(s.events), s.patched)
		}
		ev := s.events[1]
		got := []string{ev.Namespace, ev.Type, ev.Reason, ev.Message, ev.Source.Component, ev.Source.Host,
			ev.InvolvedObject.Kind, ev.InvolvedObject.Name, string(ev.InvolvedObject.UID), ev.InvolvedObject.FieldPath, s.events[0].Type}
		want := []string{"team", "Warning", Unprepared, "it is not", "eyas", "node-1", "Pod", "web", "uid-web", "spec.containers{app}", "Normal"}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
	for i := range 40 {
		k.Tell(outcome(Refused, fmt.Sprint(i)))
	}
	until(t, "all have a fate", func() bool { return k.fate(fateSent)+k.fate(fateSuppressed) == 43 })
	if n := k.fate(fateSent); n > 11 { // one a minute comes on top
		t.Errorf("%d of one pod were sent", n)
	}
}

// Events outlive an API server that is away, throttles or takes no token; what it
// refuses for good is dropped, and holds nothing up.
func TestEventsOutage(t *testing.T) {
	for _, code := range []int{401, 429, 503} {
		s := newServer(t)
		s.answer = func(*http.Request) int { return code }
		k, stop := start(t, s.options(t))
		k.Tell(outcome(Prepared, "it is"))
		until(t, "requests", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.requests > 3 })
		s.do(func(s *server) { s.answer = nil })
		until(t, "it is sent", func() bool { return k.fate(fateSent) == 1 })
		stop()
	}
	s := newServer(t)
	s.answer = func(r *http.Request) int {
		if strings.Contains(r.URL.Path, "/team/") {
			return http.StatusForbidden
		}
		return 0
	}
	k, _ := start(t, s.options(t))
	k.Tell(outcome(Prepared, "it is"))
	other := outcome(Prepared, "it is")
	other.Namespace = "elsewhere"
	k.Tell(other)
	until(t, "both have a fate", func() bool { return k.fate(fateSent) == 1 && k.fate(fateRefused) == 1 })
}

// An API server that has just started forbids everything until it has read its rules:
// that may pass, for a while. Not so what it forbids in a namespace that ends.
func TestForbiddenAtFirst(t *testing.T) {
	e := &events{wait: time.Second}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", nil)
	ending := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", nil)
	ending.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	now := time.Now()
	for i, step := range []struct {
		err   error
		after time.Duration
		want  bool
	}{
		{ending, 0, false}, {errors.New("no answer"), 0, false}, {apierrors.NewBadRequest("no"), 0, false},
		{forbidden, time.Minute, true}, // the first one is when it begins
		{forbidden, time.Minute + 59*time.Second, true}, {ending, time.Minute + 59*time.Second, false},
		{forbidden, 2 * time.Minute, false}, {forbidden, time.Hour, false},
	} {
		if got := e.starts(step.err, now.Add(step.after)); got != step.want {
			t.Errorf("step %d, %v: %v", i, step.err, got)
		}
	}
}

// A queue that nobody empties neither blocks nor grows.
func TestEventsQueue(t *testing.T) {
	k, err := New(newServer(t).options(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxQueue + 5 {
		k.Tell(outcome(Prepared, fmt.Sprint(i)))
	}
	if n := k.fate(fateDropped); n != 5 {
		t.Errorf("%d dropped, want 5", n)
	}
	for _, name := range []string{"", "../nodes", "a/b", "x\x1b"} {
		k.Tell(Outcome{Namespace: "team", Pod: name})
		k.Tell(Outcome{Namespace: name, Pod: "web"})
	}
	if n := k.fate(fateRefused); n != 8 {
		t.Errorf("%d refused that have no name of Kubernetes, want 8", n)
	}
}

func TestEscaped(t *testing.T) {
	k, err := New(newServer(t).options(t))
	if err != nil {
		t.Fatal(err)
	}
	k.Escaped(identity.Pod{Namespace: "team", Name: "web", UID: "u", Container: "app"}, []string{"app", "ev\x1b[31mil\n"}, "/\xff"+strings.Repeat("x", 5000))
	ev := <-k.events.queue
	if !strings.Contains(ev.Message, `"app" ▸ "ev\x1b[31mil\n"`) || strings.ContainsAny(ev.Message, "\x1b\n") || !utf8.ValidString(ev.Message) || len(ev.Message) > 1024 {
		t.Errorf("message %q", ev.Message)
	}
}

// The node's condition follows the verdict, leaves others alone, and remembers
// since when it is what it is.
func TestCondition(t *testing.T) {
	s := newServer(t)
	old := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	s.node.Status.Conditions = []corev1.NodeCondition{
		{Type: "Ready", Status: "True", LastTransitionTime: old}, {Type: ConditionType, Status: "True", LastTransitionTime: old},
	}
	failing := true
	s.answer = func(r *http.Request) int {
		if failing && r.Method == http.MethodPatch {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	k, _ := start(t, s.options(t))
	yes, no := true, false
	k.SetVerdict(Verdict{Fit: &yes, Reason: "ChecksPass", Message: "fine"})
	until(t, "it failed", func() bool { return k.state.failed.Load() > 0 })
	s.do(func(*server) { failing = false })
	is := func(status corev1.ConditionStatus, reason string, kept bool) func() bool {
		return func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			all := s.node.Status.Conditions
			return len(all) == 2 && all[0].Status == "True" && all[1].Status == status && all[1].Reason == reason &&
				all[1].LastTransitionTime.Equal(&old) == kept && time.Since(all[1].LastHeartbeatTime.Time) < time.Minute
		}
	}
	until(t, "the heartbeat is new, the transition is not", is("True", "ChecksPass", true))
	k.SetVerdict(Verdict{Fit: &no, Reason: "ChecksFail", Message: "fail: x"})
	until(t, "it is not fit any more", is("False", "ChecksFail", false))
	k.SetVerdict(Verdict{Reason: "Starting"})
	until(t, "nobody knows", is("Unknown", "Starting", false))
}
