package nri

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/nri/pkg/api"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/eyas-agent/eyas/agent/subid"
)

// Sandboxes get what their profile says, all others nothing.
func TestAdjust(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "dev/net"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A link to the null device, which every machine has; it stands for fuse.
	if err := os.Symlink("/dev/null", filepath.Join(root, "dev/fuse")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dev/net/tun"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var null unix.Stat_t
	if err := unix.Stat("/dev/null", &null); err != nil {
		t.Fatal(err)
	}
	profiles := Profiles()
	profiles[0].Env = map[string]string{"B": "2", "A": "1", "HAS": "eyas"}
	bare := Profile{Profile: profiles[0].Profile}
	bare.Name, bare.Files = "bare", false
	r := newRig(t, func(o *Options) {
		o.Root, o.Profiles = root, append(profiles, bare)
		o.Namespaces = map[string]string{"builders": "build"}
		o.Handlers = map[string]string{"nested": "build"}
	})
	bind := func(id, name string) *api.Mount {
		return &api.Mount{Destination: "/etc/" + name, Type: "bind", Source: "/files/" + id + "/" + name, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec", "rprivate"}}
	}
	full := func(id, descendants string) *api.ContainerAdjustment {
		return &api.ContainerAdjustment{
			Mounts: []*api.Mount{bind(id, "subuid"), bind(id, "subgid"),
				{Destination: "-" + cgroupMount}, {Destination: cgroupMount, Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "rw"}}},
			Linux: &api.LinuxContainerAdjustment{
				Devices: []*api.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: int64(unix.Major(null.Rdev)), Minor: int64(unix.Minor(null.Rdev)),
					FileMode: &api.OptionalFileMode{Value: 0o666}}},
				Resources: &api.LinuxResources{Unified: map[string]string{"cgroup.max.descendants": descendants, "cgroup.max.depth": "16"}},
			},
		}
	}
	dev := full("dev", "512")
	dev.Env = []*api.KeyValue{{Key: "A", Value: "1"}, {Key: "B", Value: "2"}}
	own := full("own", "128")
	own.Mounts = own.Mounts[1:2]
	own.Linux.Devices = nil
	other := func(ns, handler, annotation string) *api.PodSandbox {
		p := pod(annotation)
		p.Namespace, p.RuntimeHandler = ns, handler
		return p
	}
	plain := func(id string) *api.Container { return container(id) }
	for name, tc := range map[string]struct {
		pod  *api.PodSandbox
		c    *api.Container
		want *api.ContainerAdjustment
		call string
	}{
		"default":   {pod("true"), plain("dev"), dev, "reserve dev dev user 1000:1001 sandbox 77 of team/web"},
		"named":     {pod("build"), plain("b1"), full("b1", "128"), "reserve b1 build user 1000:1001 sandbox 77 of team/web"},
		"bare":      {pod("bare"), plain("b2"), &api.ContainerAdjustment{}, "reserve b2 bare user 1000:1001 sandbox 77 of team/web"},
		"namespace": {other("builders", "", ""), plain("n1"), full("n1", "128"), "reserve n1 build user 1000:1001 sandbox 77 of builders/web"},
		"handler":   {other("x", "nested", ""), plain("n2"), full("n2", "128"), "reserve n2 build user 1000:1001 sandbox 77 of x/web"},
		"root told": {pod("bare"), func() *api.Container { // unlike nobody
			c := plain("b3")
			c.User = &api.User{}
			return c
		}(), &api.ContainerAdjustment{}, "reserve b3 bare user 0:0 sandbox 77 of team/web"},
		"opted out": {other("builders", "nested", "false"), plain("n3"), nil, ""},
		"no one":    {pod(""), plain("n4"), nil, ""},
		"has its own": {pod("build"), func() *api.Container {
			c := plain("own")
			c.Mounts = append(c.Mounts, &api.Mount{Destination: "/etc/subuid/", Type: "bind", Source: "/x"})
			c.Linux.Namespaces = c.Linux.Namespaces[:1]
			c.Linux.Devices = []*api.LinuxDevice{{Path: "/dev/fuse"}}
			c.User = nil
			return c
		}(), own, "reserve own build user ? sandbox 77 of team/web"},
	} {
		r.calls = nil
		got, err := r.create(tc.pod, tc.c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(normal(tc.want), normal(got), protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if got := strings.Join(r.calls, "; "); got != tc.call {
			t.Errorf("%s: the preparer heard %q, want %q", name, got, tc.call)
		}
	}
	if n := r.unprepared(); n != 0 {
		t.Errorf("%d containers are counted as unprepared", n)
	}
	for _, want := range []string{"/dev/net/tun of the host is no character device", "the pod mounts /etc/subuid itself", "no cgroup namespace"} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// normal strips what the runtime's collector adds, and its removals.
func normal(a *api.ContainerAdjustment) *api.ContainerAdjustment {
	out := &api.ContainerAdjustment{Linux: &api.LinuxContainerAdjustment{Resources: &api.LinuxResources{Unified: map[string]string{}}}}
	for _, m := range a.GetMounts() {
		if _, gone := m.IsMarkedForRemoval(); !gone {
			out.Mounts = append(out.Mounts, m)
		}
	}
	out.Env = a.GetEnv()
	out.Linux.Devices = a.GetLinux().GetDevices()
	maps.Copy(out.Linux.Resources.Unified, a.GetLinux().GetResources().GetUnified())
	slices.SortFunc(out.Env, func(a, b *api.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// What cannot be prepared starts all the same, unless its profile is required;
// what was begun is taken back.
func TestFailures(t *testing.T) {
	profiles := Profiles()
	profiles[1].Required = true
	var mu sync.Mutex
	var told []string
	r := newRig(t, func(o *Options) {
		o.Profiles = profiles
		o.Told = func(x Outcome) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s %s/%s %s %s", x.What, x.Namespace, x.Pod, x.PodUID, x.Container))
		}
	})
	r.fail = errors.New("no range")
	if a, err := r.create(pod("dev"), container("c1")); err != nil || len(a.GetMounts()) > 0 {
		t.Errorf("create: %v, %v", a, err)
	}
	if n := r.unprepared(); n != 1 {
		t.Errorf("%d unprepared, want 1", n)
	}
	if _, err := r.create(pod("build"), container("c2")); err == nil || !strings.Contains(err.Error(), "no range") {
		t.Errorf("create, required: %v", err)
	}
	if n := r.unprepared(); n != 1 {
		t.Errorf("%d unprepared, want 1: what failed does not exist", n)
	}
	r.fail = nil
	start := func(annotation, id string) error {
		return r.runtime.StartContainer(context.Background(), &api.StartContainerRequest{Pod: pod(annotation), Container: container(id)})
	}
	if err := start("dev", "c1"); err != nil {
		t.Errorf("start without a reservation: %v", err)
	}
	if err := start("build", "c3"); err == nil {
		t.Error("start without a reservation, required: no error")
	}
	if _, err := r.create(pod("dev"), container("c4")); err != nil {
		t.Fatal(err)
	}
	if err := start("dev", "c4"); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "hand over c4 dev /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu.slice/cri-containerd-c4.scope pid 0")
	for _, id := range []string{"c4", "plain"} {
		if err := r.runtime.RemoveContainer(context.Background(), &api.RemoveContainerRequest{Pod: pod("dev"), Container: container(id)}); err != nil {
			t.Error(err)
		}
	}
	r.wait(t, "drop c4")
	r.fail = &subid.DryError{}
	if _, err := r.create(pod("dev"), container("c5")); err != nil {
		t.Fatal(err)
	}
	r.fail = nil
	if _, err := r.create(pod("nonsense"), container("c6")); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if d := cmp.Diff([]string{
		"unprepared team/web u main", "unprepared team/web u main", "unprepared team/web u main", "prepared team/web u main", "pool-dry team/web u main", "refused team/web u ",
	}, told); d != "" {
		t.Error("outcomes", d)
	}
	for what, want := range map[[2]string]float64{
		{"CreateContainer", resultFailed}: 3, {"CreateContainer", resultOK}: 1, {"StartContainer", resultFailed}: 2, {"StartContainer", resultOK}: 1,
		{"RemoveContainer", resultOK}: 1, {"RemoveContainer", resultIgnored}: 1,
	} {
		if got := r.count(what[0], what[1]); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
}
