//go:build host

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/test/cri"
)

// What is asked for inside, and what the kernel must say of it.
const (
	limits    = "--memory 64m --pids-limit 50"
	memoryMax = "67108864"
	pidsMax   = "50"
)

// nesting is what a user does inside.
const (
	load = "podman load -q -i /opt/busybox.oci.tar >&2\n"
	run  = "podman run -d --name nested --network none " + limits + " localhost/busybox sleep 1000000\n"
	look = "podman exec nested cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max\n"
)

// TestNode starts one node for all tests: under emulation that alone takes a
// while. With -short crun has no sandbox with a user namespace, and runc's builds
// nothing.
func TestNode(t *testing.T) {
	n := newNode(t)
	for i, handler := range []string{"runc", "crun"} {
		t.Run("sandbox/"+handler, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && i > 0 {
				t.Skip("short")
			}
			n.sandbox(t, handler, uint32(400000+i*100000))
		})
	}
	t.Run("unprepared", func(t *testing.T) {
		t.Parallel()
		n.unprepared(t)
	})
	t.Run("host-users", func(t *testing.T) {
		t.Parallel()
		n.hostUsers(t)
	})
	t.Run("doctor", func(t *testing.T) {
		t.Parallel()
		n.doctor(t)
	})
}

// sandbox: all that a sandbox is for, with nothing but the annotation.
func (n *node) sandbox(t *testing.T, handler string, ids uint32) {
	p := n.start(t, "sandbox"+handler, podOptions{handler: handler, sandbox: true, userns: &cri.UserNamespace{HostID: ids, Length: 65536}})
	id := p.podman(t)
	p.probes(t)
	p.resize(t, id)
	if !testing.Short() {
		p.builds(t)
	}
	p.released(t)
}

// unprepared: what a pod that is all the same, but for the annotation, comes to.
func (n *node) unprepared(t *testing.T) {
	p := n.start(t, "unprepared", podOptions{userns: &cri.UserNamespace{HostID: 600000, Length: 65536}})
	out, err := p.Exec(t.Context(), patience, "bash", "-ec", load+run)
	var exit *cri.ExitError
	if !errors.As(err, &exit) || !strings.Contains(out, "newuidmap") {
		t.Errorf("podman without ids of its own: %v, want an error of newuidmap", err)
	}
	t.Logf("without eyas, as the image is: %s", out)

	// Somebody mounts the right ids by hand. Podman works now, and does not say
	// that nothing keeps the limits.
	file := p.home + ".subid" // not on tmpfs: see doctor
	if err := os.WriteFile(file, []byte("dev:1001:64535\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.container(t, "by-hand", cri.Mount{Host: file, Container: "/etc/subuid", ReadOnly: true}, cri.Mount{Host: file, Container: "/etc/subgid", ReadOnly: true})
	out = p.run(t, load+run+look)
	t.Logf("without eyas, ids by hand, podman run %s exits with 0, and memory.max and pids.max are: %s", limits, out)
	if lines := strings.Split(out, "\n"); lines[1] == memoryMax || lines[2] == pidsMax { // after the id
		t.Error("podman keeps limits without a delegation")
	}
	for _, c := range below(t, p.cgroup) {
		t.Errorf("without a delegation there is cgroup %s of %s", c, p.cgroup)
	}
	if l, ok := n.lease(t, p.ID); ok {
		t.Errorf("a pod without the annotation has a lease: %+v", l)
	}
	p.remove(t)
}

// hostUsers: pods without a user namespace of their own get ranges of host ids
// that nobody else has.
func (n *node) hostUsers(t *testing.T) {
	a := n.start(t, "hostrunc", podOptions{handler: "runc", sandbox: true})
	b := n.start(t, "hostcrun", podOptions{handler: "crun", sandbox: true})
	var ranges []ledger.Range
	for _, p := range []*pod{a, b} {
		p.podman(t)
		l, ok := n.lease(t, p.ID)
		if !ok || l.State != ledger.Done || l.Range.Empty() {
			t.Fatalf("its lease is %+v, want one that is done and has a range", l)
		}
		want := fmt.Sprintf("0 %d 1 1 %d %d", uid, l.Range.Start, l.Range.Count)
		if got := strings.Join(strings.Fields(p.run(t, "podman exec nested cat /proc/self/uid_map")), " "); got != want {
			t.Errorf("the nested container's uid_map is %q, want that of its lease, %q", got, want)
		}
		ranges = append(ranges, l.Range)
	}
	if ranges[0].Overlaps(ranges[1]) {
		t.Errorf("two pods at once share ids: %s and %s", ranges[0], ranges[1])
	}
	a.released(t)
	b.released(t)
}

// podman starts a container inside whose limits must be in force, and returns
// its id.
func (p *pod) podman(t *testing.T) string {
	t.Helper()
	id := strings.Fields(p.run(t, load+run))[0]
	want := memoryMax + "\n" + pidsMax
	if got := p.run(t, look); got != want {
		t.Errorf("inside, the nested container has memory.max and pids.max %q, want %q", got, want)
	}
	cgroup := p.nested(t, id)
	if got := p.file(t, cgroup, "memory.max") + "\n" + p.file(t, cgroup, "pids.max"); got != want {
		t.Errorf("on the node, the nested container has memory.max and pids.max %q, want %q", got, want)
	}
	if p.file(t, cgroup, "cgroup.procs") == "" && p.file(t, cgroup, "pids.current") == "0" {
		t.Errorf("on the node, nobody is in the nested container's cgroup %s", cgroup)
	}
	return id
}

// nested finds the cgroup of a container that podman started inside.
func (p *pod) nested(t *testing.T, id string) string {
	t.Helper()
	all := below(t, p.cgroup)
	for _, c := range all {
		if base := filepath.Base(c); base == id || base == "libpod-"+id { // of crun or of podman's own
			return c
		}
	}
	t.Fatalf("on the node, no cgroup of %s has nested container %q: %q", p.cgroup, id, all)
	return ""
}

// probes: exec goes on, and lands in the leaf.
func (p *pod) probes(t *testing.T) {
	t.Helper()
	for range 5 {
		if got := p.run(t, "cat /proc/self/cgroup"); got != "0::/init" {
			t.Errorf("a command of exec is in cgroup %q, want 0::/init", got)
		}
	}
}

// resize: the runtime's limits land in the container's cgroup, and leave those
// inside alone.
func (p *pod) resize(t *testing.T, nested string) {
	t.Helper()
	if err := p.Update(t.Context(), &runtime.LinuxContainerResources{MemoryLimitInBytes: 900 << 20, CpuPeriod: 100000, CpuQuota: 150000}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": fmt.Sprint(900 << 20), "cpu.max": "150000 100000"} {
		if got := p.file(t, file); got != want {
			t.Errorf("after a resize %s is %q, want %q", file, got, want)
		}
	}
	if got := p.file(t, p.nested(t, nested), "memory.max"); got != memoryMax {
		t.Errorf("after a resize the nested container's memory.max is %q, want %q", got, memoryMax)
	}
	p.probes(t)
}

// builds: two builders, one Dockerfile.
func (p *pod) builds(t *testing.T) {
	t.Helper()
	const want = "built by 0"
	out := p.run(t, `buildah build --quiet --network host --tag built /opt/context >&2
		podman run --rm --network none localhost/built /bin/busybox cat /built`)
	if lines := strings.Split(out, "\n"); lines[0] != want {
		t.Errorf("the image of buildah says %q, want %q", out, want)
	}
	out = p.run(t, `socket=unix:///tmp/run/buildkit.sock
		rootlesskit --net=host --copy-up=/etc --copy-up=/run buildkitd --addr $socket --root ~/buildkit --containerd-worker=false >/tmp/buildkitd.log 2>&1 </dev/null &
		trap 'tail -n 5 /tmp/buildkitd.log >&2; kill $!; wait' EXIT
		buildctl --addr $socket --timeout 240 --wait build --progress plain --frontend dockerfile.v0 --local context=/opt/context --local dockerfile=/opt/context \
			--output type=local,dest=/tmp/out >&2
		cat /tmp/out/built`)
	if lines := strings.Split(out, "\n"); lines[0] != want {
		t.Errorf("the image of buildkit says %q, want %q", out, want)
	}
}

// released: a pod that is removed leaves nothing.
func (p *pod) released(t *testing.T) {
	t.Helper()
	l, ok := p.n.lease(t, p.ID)
	if !ok || l.State != ledger.Done {
		t.Fatalf("its lease is %+v, want one that is done", l)
	}
	files := stateDir + "/subids/" + l.ID
	if _, err := os.Stat(files); err != nil {
		t.Errorf("the files of a lease that is in use: %v", err)
	}
	p.remove(t)
	p.n.eventually(t, "the lease is released", func() error {
		if l, ok := p.n.lease(t, p.ID); !ok || l.State != ledger.Tombstone {
			return fmt.Errorf("it is %+v", l)
		}
		return nil
	})
	if left := below(t, p.parent); len(left) > 0 {
		t.Errorf("cgroups are left below %s: %q", p.parent, left)
	}
	if _, err := os.Stat(files); !os.IsNotExist(err) {
		t.Errorf("files of the lease are left in %s: %v", files, err)
	}
}
