package tracker

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// cluster is a Pods that a test writes.
type cluster struct {
	mu      sync.Mutex
	pods    map[[2]string]identity.Pod
	escaped []string
	changed chan struct{}
}

func (c *cluster) Pod(uid, id string) (identity.Pod, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pods[[2]string{uid, id}]
	return p, ok
}

func (c *cluster) Changed() <-chan struct{} { return c.changed }

func (c *cluster) Escaped(p identity.Pod, chain []string, cgroup string) {
	c.escaped = append(c.escaped, p.Name+": "+strings.Join(chain, ">")+" in "+cgroup)
}

func (c *cluster) put(uid, id string, p identity.Pod) {
	c.mu.Lock()
	c.pods[[2]string{uid, id}] = p
	c.mu.Unlock()
	c.changed <- struct{}{}
}

// A container has its pod whether Kubernetes or the kernel tells of it first, keeps
// it when Kubernetes forgets it, and an escape is told once, when the pod is known.
func TestPods(t *testing.T) {
	const uid = "2ff1b4c8-7d2e-4b7e-9a55-0f6f4c1f2a31"
	id := strings.Repeat("ab", 32)
	paths := map[uint64]string{1: "/kubepods/burstable/pod" + uid + "/" + id, 2: "/elsewhere"}
	outer, inner := task(50, 1, 50), task(60, 50, 50)
	inner.PIDLevels = append(inner.PIDLevels, bpf.Level{PID: 1, PIDNS: 60, PIDNSStart: 60 * 1e7, PIDNSOwner: hostUserNS})
	outer.Cgroup, inner.Cgroup = 1, 2
	synctest.Test(t, func(t *testing.T) {
		pods := &cluster{pods: map[[2]string]identity.Pod{}, changed: make(chan struct{}, 1)}
		k, memory := newKernel(outer), &remembered{}
		tr := New(Options{
			Source: k, Pods: pods, Memory: memory, Log: zerolog.Nop(),
			Table: identity.NewTable(identity.Options{CgroupPath: func(id uint64) string { return paths[id] }}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = tr.Run(ctx) })
		wg.Go(func() { _ = tr.RunPods(ctx) })
		defer wg.Wait()
		defer cancel()
		<-tr.Ready()
		podAt := func(level int) (p *identity.Pod) {
			<-time.After(time.Second)
			tr.View(func(table *identity.Table, _ map[string]int) {
				for _, c := range table.Containers() {
					if c.Level == level {
						p = c.Pod
					}
				}
			})
			return p
		}
		if p := podAt(1); p != nil {
			t.Errorf("a pod from nowhere: %+v", p)
		}
		want := identity.Pod{Namespace: "team", Name: "web-0", UID: uid, Container: "app"}
		pods.put(uid, id, want)
		if d := cmp.Diff(&want, podAt(1)); d != "" {
			t.Error(d)
		}
		if got := memory.podOf(); got != "web-0" {
			t.Errorf("the history has pod %q", got)
		}
		k.tell(inner)
		if p := podAt(2); p != nil {
			t.Errorf("a nested container has a pod of its own: %+v", p)
		}
		pods.put("another", "", identity.Pod{})
		podAt(1)
		if len(pods.escaped) != 1 || !strings.HasPrefix(pods.escaped[0], "web-0: ") || !strings.HasSuffix(pods.escaped[0], " in /elsewhere") {
			t.Errorf("escapes told: %q", pods.escaped)
		}
		pods.mu.Lock()
		clear(pods.pods)
		pods.mu.Unlock()
		pods.changed <- struct{}{}
		if d := cmp.Diff(&want, podAt(1)); d != "" {
			t.Error("forgotten with the pod", d)
		}
	})
}

// remembered keeps the last record of each container.
type remembered struct {
	Memory
	mu   sync.Mutex
	last identity.ContainerRecord
}

func (m *remembered) PutContainer(r identity.ContainerRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Level == 1 {
		m.last = r
	}
}
func (m *remembered) PutProcess(identity.ProcessRecord) {}
func (m *remembered) PutUserNS(identity.UserNSRecord)   {}
func (m *remembered) LateExit(bpf.Exit, time.Time)      {}

func (m *remembered) podOf() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.Pod == nil {
		return ""
	}
	return m.last.Pod.Name
}
