package nri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/log"
	"github.com/containerd/ttrpc"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
)

// patience bounds waits for what must happen.
const patience = 20 * time.Second

// helper makes this binary a process that waits until its input ends.
const helper = "EYAS_NRI_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helper) != "" {
		fmt.Println("parked")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	log.Set(logger{zerolog.Nop()}) // the runtime's side
	m.Run()
}

// rig is a runtime's side of NRI, and the plugin on the other.
type rig struct {
	testing.TB
	*fake
	p       *Plugin
	socket  string
	runtime *adaptation.Adaptation
	clients *[]*ttrpc.Client // the runtime's ends of the connections of its plugins
	synced  chan error
	pods    []*api.PodSandbox
	cs      []*api.Container
	log     *syncBuffer
}

// syncBuffer is a log that can be waited for.
type syncBuffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{}
}

func newBuffer() *syncBuffer { return &syncBuffer{wrote: make(chan struct{}, 1)} }

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.wrote <- struct{}{}:
	default:
	}
	return s.b.Write(p)
}

// wait waits until text stands n times in the log.
func (s *syncBuffer) wait(t testing.TB, n int, text string) {
	t.Helper()
	late := time.After(patience)
	for strings.Count(s.String(), text) < n {
		select {
		case <-s.wrote:
		case <-late:
			t.Fatalf("the log never said %q for the %d. time:\n%s", text, n, s)
		}
	}
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newRig starts both, connected; o may change the options.
func newRig(t testing.TB, o func(*Options)) *rig {
	r := &rig{TB: t, fake: newFake(), socket: filepath.Join(t.TempDir(), "nri.sock"), synced: make(chan error, 10), log: newBuffer()}
	r.start()
	t.Cleanup(func() { r.runtime.Stop() })
	r.plugin(o)
	r.sync()
	return r
}

func (r *rig) start() {
	r.Helper()
	empty, clients := r.TempDir(), new([]*ttrpc.Client)
	keep := func(c *ttrpc.Client) { *clients = append(*clients, c) }
	a, err := adaptation.New("test-runtime", "1", func(ctx context.Context, cb adaptation.SyncCB) error {
		_, err := cb(ctx, r.pods, r.cs)
		if ctx == context.Background() { // not of plugins that the runtime starts itself
			r.synced <- err
		}
		return err
	}, func(context.Context, []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) { return nil, nil },
		adaptation.WithSocketPath(r.socket), adaptation.WithPluginPath(empty), adaptation.WithPluginConfigPath(empty),
		adaptation.WithTTRPCOptions([]ttrpc.ClientOpts{keep}, nil))
	if err == nil {
		err = a.Start()
	}
	if err != nil {
		r.Fatal(err)
	}
	r.runtime, r.clients = a, clients
}

// sync waits until a plugin is connected, and for the runtime to count it in.
func (r *rig) sync() {
	r.Helper()
	select {
	case err := <-r.synced:
		if err != nil {
			r.Fatal(err)
		}
	case <-time.After(patience):
		r.Fatalf("the plugin does not connect:\n%s", r.log)
	}
	r.runtime.BlockPluginSync().Unblock()
}

func (r *rig) plugin(change func(*Options)) {
	r.Helper()
	o := Options{
		Preparer: r.fake, Socket: r.socket, Unified: true, Root: r.TempDir(), Backoff: 5 * time.Millisecond,
		Deadline: patience, Log: zerolog.New(r.log),
	}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			r.Error(err)
		}
	})
	r.p = p
}

// pod is a pod with an annotation, "" for none.
func pod(annotation string) *api.PodSandbox {
	p := &api.PodSandbox{Id: "pod", Name: "web", Uid: "u", Namespace: "team", RuntimeHandler: "runc", Pid: 77}
	if annotation != "" {
		p.Annotations = map[string]string{Annotation: annotation}
	}
	return p
}

func container(id string) *api.Container {
	return &api.Container{
		Id: id, PodSandboxId: "pod", Name: "main", State: api.ContainerState_CONTAINER_RUNNING,
		User: &api.User{Uid: 1000, Gid: 1001}, Env: []string{"HAS=own"},
		Mounts: []*api.Mount{{Destination: cgroupMount, Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}}},
		Linux: &api.LinuxContainer{
			CgroupsPath: "kubepods-burstable-podu.slice:cri-containerd:" + id,
			Namespaces:  []*api.LinuxNamespace{{Type: "pid"}, {Type: "cgroup"}},
		},
	}
}

func (r *rig) create(p *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, error) {
	v, err := r.runtime.CreateContainer(context.Background(), &api.CreateContainerRequest{Pod: p, Container: c})
	return v.GetAdjust(), err
}

// count is a counter of requests.
func (r *rig) count(event, result string) float64 {
	return testutil.ToFloat64(r.p.m.total.WithLabelValues(event, result))
}

func (r *rig) unprepared() int {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return len(r.p.unprepared)
}
