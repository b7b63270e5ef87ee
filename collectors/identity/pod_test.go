package identity

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

// What Kubernetes knows of an outermost container names its series; no two that
// live have the same labels, whatever Kubernetes says.
func TestPodLabels(t *testing.T) {
	table := NewTable(Options{})
	put := func(pid, ns uint32, at uint64, id string) *Container {
		apply(table, host().unsharePID(ns, uint64(pid)).task(bpf.KindFork, pid, 1, uint64(pid), at))
		c := table.Process(HostPID(pid)).Container
		c.Name.ID = id
		return c
	}
	web := Pod{Namespace: "team", Name: "web-0", UID: "u", Container: "app", Labels: map[string]string{"a": "b"}}
	nameless, stale := web, web
	nameless.Container, stale.Stale = "", true
	first := put(50, 10, 100, "c1")
	second := put(51, 11, 110, "c2") // the container, restarted
	same := put(52, 12, 120, "c2")   // a pid namespace made in it, where the pod has the node's
	pause := put(53, 13, 130, "p")
	alone := put(54, 14, 140, "x")
	for _, step := range []struct {
		c    *Container
		p    Pod
		news bool
	}{
		{first, web, true}, {first, web, false}, {first, stale, false}, {second, web, true},
		{same, web, true}, {pause, nameless, true}, {second, stale, false},
	} {
		p := step.p
		if news := table.SetPod(step.c, &p); news != step.news {
			t.Errorf("container %s: news %v, want %v", step.c.Name.ID, news, step.news)
		}
	}
	got := map[string]PodLabels{}
	for _, c := range table.Containers() {
		got[c.ID] = table.PodLabels(c.ID)
	}
	if d := cmp.Diff(map[string]PodLabels{
		first.ID: {"team", "web-0", "_" + first.ID}, second.ID: {"team", "web-0", "app"}, same.ID: {"team", "web-0", "_" + same.ID},
		pause.ID: {"team", "web-0", "_" + pause.ID}, alone.ID: {Container: alone.ID},
	}, got); d != "" {
		t.Error(d)
	}
	if second.Pod == nil || !second.Pod.Stale || second.brief.Labels != nil {
		t.Errorf("pod %+v, in brief %+v", second.Pod, second.brief)
	}
	if l := containerLink(second.Record(Clock{})); l.Pod != second.Pod {
		t.Errorf("the link has %+v", l.Pod)
	}

	// When all have ended nothing is left that another could collide with.
	for pid := uint32(50); pid < 55; pid++ {
		apply(table, exit(pid, uint64(pid), 200))
	}
	if len(table.labelled) != 0 {
		t.Errorf("labels of nobody: %v", table.labelled)
	}
	if d := cmp.Diff(PodLabels{Container: second.ID}, table.PodLabels(second.ID)); d != "" {
		t.Error(d)
	}
}
