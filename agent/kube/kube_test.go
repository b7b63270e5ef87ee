package kube

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// start runs a Kube until the test ends, or stop is called.
func start(t *testing.T, o Options) (k *Kube, stop func()) {
	t.Helper()
	k, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	over := false
	stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return k, stop
}

var web = identity.Pod{
	Namespace: "team", Name: "web", UID: "uid-web", Container: "app",
	Owner: &identity.PodOwner{Kind: "ReplicaSet", Name: "web-rs"}, Labels: map[string]string{"app": "web"},
}

// Pods come, change and go as the API server says; when it is away they are told
// as they were, marked stale, also by an agent that was started meanwhile.
func TestPods(t *testing.T) {
	s := newServer(t, pod("web", "app"))
	o := s.options(t)
	k, stop := start(t, o)
	is := func(k *Kube, uid, id string, want *identity.Pod) func() bool {
		return func() bool {
			p, ok := k.Pod(uid, id)
			return ok == (want != nil) && (want == nil || cmp.Equal(*want, p, cmpopts.IgnoreFields(identity.Pod{}, "AsOf")))
		}
	}
	until(t, "the pod is known", is(k, "uid-web", "id-app", &web))
	select {
	case <-k.Changed():
	default:
		t.Error("nobody was told")
	}
	pause := web
	pause.Container = ""
	if !is(k, "uid-web", "another", &pause)() || !is(k, "", "id-app", nil)() {
		t.Error("a container is found by its id alone, or not by its pod")
	}
	s.tell(t, "ADDED", pod("db", "sql"))
	until(t, "the second is known", func() bool { _, ok := k.Pod("uid-db", "id-sql"); return ok })
	restarted := pod("web", "app")
	restarted.Status.ContainerStatuses[0].ContainerID = "containerd://id-new"
	s.tell(t, "MODIFIED", restarted)
	until(t, "the restart is known", is(k, "uid-web", "id-new", &web))
	s.tell(t, "DELETED", pod("db", "sql"))
	until(t, "the second is gone", is(k, "uid-db", "id-sql", nil))

	s.do(func(s *server) { s.answer = func(*http.Request) int { return http.StatusServiceUnavailable } })
	s.CloseClientConnections()
	stale := web
	stale.Stale = true
	until(t, "it is stale", is(k, "uid-web", "id-new", &stale))
	if p, _ := k.Pod("uid-web", "id-new"); time.Since(p.AsOf) > time.Minute {
		t.Errorf("last heard at %s", p.AsOf)
	}
	stop()
	again, stop := start(t, o)
	if !is(again, "uid-web", "id-new", &stale)() {
		p, ok := again.Pod("uid-web", "id-new")
		t.Errorf("after a restart: %v %+v", ok, p)
	}
	if known := ReadLastKnown(o.Dir); known == nil {
		t.Error("nothing is known without an agent")
	} else if p, ok := known.Pod("uid-web", "id-new"); !ok || !p.Stale {
		t.Errorf("without an agent: %v %+v", ok, p)
	}
	s.do(func(s *server) { s.answer, s.pods = nil, append(s.pods[:0:0], restarted) })
	until(t, "it is fresh", is(again, "uid-web", "id-new", &web))
	stop()

	s.do(func(s *server) {
		want := "spec.nodeName=node-1,status.phase!=Failed,status.phase!=Succeeded"
		for got := range s.selectors {
			if sorted := strings.Split(got, ","); len(sorted) != 3 || !strings.Contains(got, "spec.nodeName=node-1") || len(got) != len(want) {
				t.Errorf("asked for %q, want %q", got, want)
			}
		}
	})
}

// Whatever the API server answers, the agent goes on and recovers.
func TestErrors(t *testing.T) {
	for _, code := range []int{401, 403, 429, 500} {
		s := newServer(t, pod("web", "app"))
		s.answer = func(*http.Request) int { return code }
		k, stop := start(t, s.options(t))
		until(t, "three requests", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.requests > 3 })
		if n, _, stale, _ := k.pods.sizes(); n != 0 || !stale {
			t.Errorf("%d: %d pods, stale %v", code, n, stale)
		}
		s.do(func(s *server) { s.answer = nil })
		until(t, "it recovers", func() bool { p, ok := k.Pod("uid-web", "id-app"); return ok && !p.Stale })
		stop()
	}
}

// A file that is no good, or another node's, is no obstacle.
func TestFile(t *testing.T) {
	s := newServer(t)
	o := s.options(t)
	good := `{"format":1,"node":"node-1","as_of":"2026-01-01T00:00:00Z","pods":[{"namespace":"n","name":"p","uid":"u","containers":{"c":"x"}}]}`
	for text, want := range map[string]bool{
		good: true, "": false, "{": false, strings.Replace(good, "node-1", "node-2", 1): false,
		strings.Replace(good, `"format":1`, `"format":2`, 1): false, strings.Replace(good, `"x"`, `"_x"`, 1): false,
		strings.Replace(good, `"p"`, `"`+strings.Repeat("p", 300)+`"`, 1): false, `{"format":1,"node":"node-1","pods":[null]}`: false,
	} {
		if err := os.WriteFile(filepath.Join(o.Dir, File), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := k.Pod("u", "c"); ok != want || ok && (!p.Stale || p.Container != "x" || p.AsOf.IsZero()) {
			t.Errorf("%s: %v %+v", text, ok, p)
		}
	}
}

func TestNew(t *testing.T) {
	s := newServer(t)
	o := s.options(t)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for what, c := range map[string]struct {
		change func(o *Options)
		want   string
	}{
		"no server":     {func(o *Options) { o.Kubeconfig = "" }, ErrNone.Error()},
		"no node":       {func(o *Options) { o.Node = "" }, "key node-name"},
		"no kubeconfig": {func(o *Options) { o.Kubeconfig += "x" }, "read kubeconfig"},
	} {
		bad := o
		c.change(&bad)
		if _, err := New(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	o.Kubeconfig = ""
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("in a pod without a token: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	s := newServer(t, pod("web", "app"))
	k, _ := start(t, s.options(t))
	until(t, "the pod is known", func() bool { _, ok := k.Pod("uid-web", ""); return ok })
	if problems, err := testutil.CollectAndLint(k); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	const want = `
# HELP eyas_kube_pods Pods of this node that are known.
# TYPE eyas_kube_pods gauge
eyas_kube_pods 1
# HELP eyas_kube_pods_left_out Pods of this node that there was no room for.
# TYPE eyas_kube_pods_left_out gauge
eyas_kube_pods_left_out 0
`
	if err := testutil.CollectAndCompare(k, strings.NewReader(want), "eyas_kube_pods", "eyas_kube_pods_left_out"); err != nil {
		t.Error(err)
	}
}
