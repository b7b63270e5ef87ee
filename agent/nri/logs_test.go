package nri

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/nri/pkg/api"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/logs"
)

// chooser tells what it is asked.
type chooser struct{ heard chan string }

func (c *chooser) SetPod(_ context.Context, p logs.Pod) error {
	what := map[bpf.LogSelection]string{0: "-", bpf.LogNone: "none", bpf.LogSelf | bpf.LogInside: "all", bpf.LogSelf | bpf.LogInside | bpf.LogNoStderr: "stdout"}[p.Logs]
	c.heard <- fmt.Sprintf("%s/%s/%s %s pid %d: %s", p.Namespace, p.Name, p.Container, p.ContainerID, p.PID, what)
	return nil
}

func (c *chooser) KeepPods(map[string]bool) {}
func (c *chooser) DropPod(id string)        { c.heard <- "drop " + id }

// Before a container's program begins it is known whether its logs are told, also of
// those that are older than the agent; an annotation that is no choice is told once.
func TestLogs(t *testing.T) {
	c := &chooser{make(chan string, 100)}
	asks := func(value string) *api.PodSandbox {
		p := pod("")
		if value != "" {
			p.Annotations = map[string]string{logs.Annotation: value}
		}
		return p
	}
	with := func(id string, state api.ContainerState) *api.Container {
		x := container(id)
		x.Pid, x.State = 7, state
		return x
	}
	r := &rig{TB: t, fake: newFake(), socket: t.TempDir() + "/nri.sock", synced: make(chan error, 10), log: newBuffer()}
	r.pods = []*api.PodSandbox{asks("true")}
	r.cs = []*api.Container{with("older", api.ContainerState_CONTAINER_RUNNING), with("dead", api.ContainerState_CONTAINER_STOPPED)}
	r.start()
	t.Cleanup(func() { r.runtime.Stop() })
	r.plugin(func(o *Options) { o.Logs = c })
	r.sync()
	if got, want := <-c.heard, "team/web/main older pid 7: all"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	for value, want := range map[string]string{
		"": "-", "true": "all", "false": "none", "stdout": "stdout", "\x1b[2Jwhat": "-",
	} {
		for range 2 {
			if err := r.runtime.StartContainer(t.Context(), &api.StartContainerRequest{Pod: asks(value), Container: with("c", api.ContainerState_CONTAINER_CREATED)}); err != nil {
				t.Fatal(err)
			}
			select { // before the answer, not some time after it
			case got := <-c.heard:
				if want := "team/web/main c pid 7: " + want; got != want {
					t.Errorf("%q: heard %q, want %q", value, got, want)
				}
			default:
				t.Errorf("%q: the container starts, and nothing is heard", value)
			}
		}
	}
	if n := strings.Count(r.log.String(), "its logs are told as if it had none"); n != 1 {
		t.Errorf("a refused annotation is told %d times:\n%s", n, r.log)
	}
	if strings.Contains(r.log.String(), "\x1b") {
		t.Error("an escape is in the log")
	}
	if err := r.runtime.RemoveContainer(t.Context(), &api.RemoveContainerRequest{Pod: asks(""), Container: with("c", api.ContainerState_CONTAINER_STOPPED)}); err != nil {
		t.Fatal(err)
	}
	if got := <-c.heard; got != "drop c" {
		t.Errorf("heard %q", got)
	}
}
