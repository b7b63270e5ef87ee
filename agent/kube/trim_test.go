package kube

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Of a pod only what is told is kept, and no more than the bounds allow.
func TestTrim(t *testing.T) {
	p := pod("web", "app")
	p.Annotations = map[string]string{mirrorAnnotation: "0123456789abcdef0123456789abcdef", "other": strings.Repeat("x", 1<<18)}
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", ContainerID: "containerd://i"}}
	p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
		Name: "crash", ContainerID: "cri-o://new",
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: "cri-o://old"}},
	}, corev1.ContainerStatus{Name: "waits"})
	out, err := trim(&p)
	if err != nil {
		t.Fatal(err)
	}
	small := out.(*corev1.Pod)
	if small.Size() > 700 || len(small.Spec.Containers) > 0 || small.ManagedFields != nil {
		t.Errorf("%d bytes are kept: %+v", small.Size(), small)
	}
	again, err := trim(small)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(small, again); d != "" {
		t.Error("trimmed twice", d)
	}
	got, ok := entryOf(small)
	want := &entry{
		Pod:    identity.Pod{Namespace: "team", Name: "web", UID: "uid-web", Owner: &identity.PodOwner{Kind: "ReplicaSet", Name: "web-rs"}, Labels: map[string]string{"app": "web"}},
		Mirror: "0123456789abcdef0123456789abcdef", Containers: map[string]string{"id-app": "app", "new": "crash", "old": "crash", "i": "init"},
	}
	if d := cmp.Diff(want, got); d != "" || !ok {
		t.Error(ok, d)
	}
	if _, err := trim("tombstone"); err == nil {
		t.Error("a text was taken for a pod")
	}
}

func TestBounds(t *testing.T) {
	s := newPods()
	big := pod("web")
	for i := range 1000 {
		big.Labels[fmt.Sprint("label-", i)] = strings.Repeat("v", 63)
		big.Status.ContainerStatuses = append(big.Status.ContainerStatuses, corev1.ContainerStatus{Name: "c", ContainerID: fmt.Sprint("x://", i)})
	}
	if err := s.Add(&big); err != nil {
		t.Fatal(err)
	}
	if e := s.byUID["uid-web"]; len(e.Labels) > maxLabels || len(e.Containers) != maxContainers {
		t.Errorf("%d labels, %d containers", len(e.Labels), len(e.Containers))
	}
	var all []any
	for i := range maxPods + 7 {
		p := pod(fmt.Sprint("p", i), "c")
		p.UID = types.UID(fmt.Sprint(i))
		all = append(all, &p)
	}
	if err := s.Replace(all, "9"); err != nil {
		t.Fatal(err)
	}
	if n, left, _, _ := s.sizes(); n != maxPods || left != 7 {
		t.Errorf("%d pods, %d left out", n, left)
	}
	for _, p := range all {
		if err := s.Delete(p); err != nil {
			t.Fatal(err)
		}
	}
	if n, left, _, _ := s.sizes(); n != 0 || left != 0 || len(s.byUID) != 0 {
		t.Errorf("%d pods, %d left out, %v", n, left, s.byUID)
	}
}

// kubelet names a static pod's cgroups by a uid of its own.
func TestMirror(t *testing.T) {
	s := newPods()
	p := pod("static", "etcd")
	p.Annotations = map[string]string{mirrorAnnotation: "hash"}
	if err := s.Add(&p); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Pod("hash", "id-etcd"); !ok || got.UID != "uid-static" || got.Container != "etcd" {
		t.Errorf("%v %+v", ok, got)
	}
	if err := s.Delete(&p); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Pod("hash", ""); ok {
		t.Error("it is still there")
	}
}
