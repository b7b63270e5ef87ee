package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
)

// server is an API server that does what a test says. test/kube has a real one.
type server struct {
	*httptest.Server
	scheme *runtime.Scheme

	mu        sync.Mutex
	pods      []corev1.Pod
	watchers  map[chan metav1.WatchEvent]bool
	selectors map[string]bool
	answer    func(r *http.Request) int // status of an error; 0: none
	events    []corev1.Event            // created
	patched   []string                  // Events, by name
	node      corev1.Node
	requests  int
}

func newServer(t *testing.T, all ...corev1.Pod) *server {
	t.Helper()
	s := &server{scheme: runtime.NewScheme(), pods: all, watchers: map[chan metav1.WatchEvent]bool{}, selectors: map[string]bool{}}
	if err := corev1.AddToScheme(s.scheme); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	code := 0
	if s.answer != nil {
		code = s.answer(r)
	}
	s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case code != 0:
		status(w, code)
	case q.Get("sendInitialEvents") != "":
		status(w, http.StatusUnprocessableEntity) // as one without that feature
	case q.Get("watch") != "":
		s.watch(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/pods":
		s.mu.Lock()
		s.selectors[q.Get("fieldSelector")] = true
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: s.pods}
		s.mu.Unlock()
		reply(w, list)
	case strings.HasSuffix(r.URL.Path, "/events"), strings.Contains(r.URL.Path, "/events/"):
		s.event(w, r)
	case r.URL.Path == "/api/v1/nodes/node-1/status" && r.Method == http.MethodPatch:
		s.patchNode(w, r)
	default:
		status(w, http.StatusForbidden)
	}
}

func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	ch := make(chan metav1.WatchEvent, 16)
	s.mu.Lock()
	s.watchers[ch] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, ch)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	for {
		select {
		case ev := <-ch:
			_ = json.NewEncoder(w).Encode(ev)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (s *server) event(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodPatch {
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		s.patched = append(s.patched, name)
		reply(w, corev1.Event{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}, ObjectMeta: metav1.ObjectMeta{Name: name}})
		return
	}
	obj, _, err := serializer.NewCodecFactory(s.scheme).UniversalDeserializer().Decode(body, nil, nil)
	ev, ok := obj.(*corev1.Event)
	if err != nil || !ok {
		status(w, http.StatusBadRequest)
		return
	}
	s.events = append(s.events, *ev)
	ev.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}
	reply(w, ev)
}

// patchNode merges conditions by type, as an API server does.
func (s *server) patchNode(w http.ResponseWriter, r *http.Request) {
	var patch corev1.Node
	if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
		status(w, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range patch.Status.Conditions {
		found := false
		for i := range s.node.Status.Conditions {
			if s.node.Status.Conditions[i].Type == c.Type {
				s.node.Status.Conditions[i], found = c, true
			}
		}
		if !found {
			s.node.Status.Conditions = append(s.node.Status.Conditions, c)
		}
	}
	s.node.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}
	reply(w, s.node)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func status(w http.ResponseWriter, code int) {
	reasons := map[int]metav1.StatusReason{401: metav1.StatusReasonUnauthorized, 403: metav1.StatusReasonForbidden, 422: metav1.StatusReasonInvalid, 429: metav1.StatusReasonTooManyRequests}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: reasons[code]})
}

// tell sends a watch event to whoever watches, once somebody does.
func (s *server) tell(t *testing.T, kind string, p corev1.Pod) {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "somebody watches", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for ch := range s.watchers {
			ch <- metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: raw}}
		}
		return len(s.watchers) > 0
	})
}

func (s *server) do(f func(s *server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// options speak with a server, by a kubeconfig.
func (s *server) options(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {token: t}}]\n"+
		"contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", s.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{Kubeconfig: file, Node: "node-1", Dir: dir, Version: "v0", Backoff: 10 * time.Millisecond, Log: zerolog.Nop()}
}

// pod is one of node-1.
func pod(name string, containers ...string) corev1.Pod {
	yes := true
	p := corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team", Name: name, UID: types.UID("uid-" + name), ResourceVersion: "2", Labels: map[string]string{"app": name},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: name + "-rs", Controller: &yes}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app", Image: "secret"}}},
	}
	for _, c := range containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: c, ContainerID: "containerd://id-" + c})
	}
	return p
}

// until waits for what a Kube does in its own time.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
