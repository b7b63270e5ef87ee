//go:build host

package starts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	spec "github.com/opencontainers/runtime-spec/specs-go"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/eyas-agent/eyas/agent/nri"
	"github.com/eyas-agent/eyas/test/cri"
)

// names makes names of pods that differ.
var names atomic.Int64

// sandbox is the annotation of a pod.
func sandbox(value string) map[string]string { return map[string]string{nri.Annotation: value} }

// pod starts a pod without containers. It goes with the test at the latest.
func (n *node) pod(t testing.TB, annotations map[string]string) *cri.Pod {
	t.Helper()
	p, err := n.client.RunPod(t.Context(), cri.PodOptions{
		Name: fmt.Sprintf("pod-%d", names.Add(1)), CgroupParent: n.cgroupParent(), HostNetwork: true, Annotations: annotations,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// sleeper is a container that only waits.
func sleeper() cri.ContainerOptions {
	return cri.ContainerOptions{Name: "c", Image: image, Command: []string{"/bin/sleep", "infinity"}, UID: user, GID: user}
}

// user is whom the containers' processes run as.
const user = 1000

// run starts a pod with one container.
func (n *node) run(t testing.TB, annotations map[string]string) (*cri.Pod, *cri.Container) {
	t.Helper()
	p := n.pod(t, annotations)
	c, err := p.Run(t.Context(), sleeper())
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func remove(t testing.TB, p *cri.Pod) {
	t.Helper()
	if err := p.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// removePods removes all pods there are.
func (n *node) removePods(ctx context.Context) error {
	all, err := n.client.Runtime.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range all.Items {
		_, err := n.client.Runtime.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: p.Id})
		if err == nil {
			_, err = n.client.Runtime.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: p.Id})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ociSpec is what containerd gave to runc.
func ociSpec(t testing.TB, c *cri.Container) (s spec.Spec, pid int) {
	t.Helper()
	_, info, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Pid         int        `json:"pid"`
		RuntimeSpec *spec.Spec `json:"runtimeSpec"`
	}
	if err := json.Unmarshal([]byte(info["info"]), &v); err != nil || v.RuntimeSpec == nil {
		t.Fatalf("status has no OCI spec: %v: %s", err, info)
	}
	return *v.RuntimeSpec, v.Pid
}

func mountAt(s spec.Spec, dst string) *spec.Mount {
	for i := range s.Mounts {
		if s.Mounts[i].Destination == dst {
			return &s.Mounts[i]
		}
	}
	return nil
}

func deviceAt(s spec.Spec, path string) *spec.LinuxDevice {
	for i := range s.Linux.Devices {
		if s.Linux.Devices[i].Path == path {
			return &s.Linux.Devices[i]
		}
	}
	return nil
}

// inside runs a command in a container.
func inside(t testing.TB, c *cri.Container, command ...string) string {
	t.Helper()
	out, err := c.Exec(t.Context(), patience, command...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
