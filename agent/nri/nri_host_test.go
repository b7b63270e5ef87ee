//go:build host

package nri

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// A container of a pod with a user namespace, from its creation to its end.
func TestUserNamespacePod(t *testing.T) {
	n := newNode(t, nil)
	ctx := context.Background()
	n.cgroup("pause")
	n.cgroup("c1")
	sandbox, _ := n.park("pause")
	p, c := pod("true"), container("c1")
	p.Pid, c.User = uint32(sandbox), &api.User{Uid: 1000, Gid: 1000}
	c.Linux.CgroupsPath = n.top + "/c1"
	a, err := n.create(p, c)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, m := range a.GetMounts() {
		if m.GetType() == "bind" {
			b, err := os.ReadFile(m.GetSource())
			if err != nil {
				t.Fatal(err)
			}
			files[m.GetDestination()] = string(b)
		}
	}
	const want = "1000:1:999\n1000:1001:64535\n"
	if files["/etc/subuid"] != want || files["/etc/subgid"] != want {
		t.Errorf("files %q, want %q", files, want)
	}
	l := n.lease("c1", ledger.Intent)
	if l.Cgroup != "" || l.UID != block+1000 || l.Owner.Pod != "web" || !l.Range.Empty() {
		t.Errorf("lease %+v", l)
	}
	if rep, err := n.w.Reconcile(ctx); err != nil || rep.Live != 1 || len(rep.Released) > 0 {
		t.Errorf("a reservation was taken back: %+v, %v", rep, err)
	}

	parked, end := n.park("c1")
	if err := n.runtime.StartContainer(ctx, &api.StartContainerRequest{Pod: p, Container: c}); err != nil {
		t.Fatal(err)
	}
	if l := n.lease("c1", ledger.Done); l.Cgroup != n.top+"/c1" {
		t.Errorf("lease %+v", l)
	}
	if got := n.read("c1/init/cgroup.procs"); got != strconv.Itoa(parked) {
		t.Errorf("in the leaf: %q, want %d", got, parked)
	}
	if got := n.read("c1/cgroup.max.descendants") + " " + n.read("c1/cgroup.max.depth"); got != "512 16" {
		t.Errorf("bounds %q", got)
	}
	for _, file := range []string{"c1", "c1/cgroup.procs", "c1/init/cgroup.procs"} {
		var st unix.Stat_t
		if err := unix.Stat(n.abs(file), &st); err != nil || st.Uid != block+1000 || st.Gid != block+1000 {
			t.Errorf("%s is of %d:%d, %v", file, st.Uid, st.Gid, err)
		}
	}
	if n.unprepared() != 0 {
		t.Errorf("counted as unprepared:\n%s", n.log)
	}

	end()
	if _, err := n.runtime.StopContainer(ctx, &api.StopContainerRequest{Pod: p, Container: c}); err != nil {
		t.Fatal(err)
	}
	n.wait()
	n.lease("c1", ledger.Tombstone)
	if _, err := os.Stat(n.w.FilesDir("c1")); !os.IsNotExist(err) {
		t.Errorf("its files: %v", err)
	}
}

// A runtime that does not tell the user: the container gets what the user of its
// first process needs, and without that process it is unprepared.
func TestUserNotTold(t *testing.T) {
	n := newNode(t, nil)
	ctx := context.Background()
	n.cgroup("pause")
	n.cgroup("u1")
	n.cgroup("u2")
	sandbox, _ := n.park("pause")
	p := pod("true")
	p.Pid = uint32(sandbox)
	start := func(id string, pid int) {
		t.Helper()
		c := container(id)
		c.User, c.Linux.CgroupsPath = nil, n.top+"/"+id
		if _, err := n.create(p, c); err != nil {
			t.Fatal(err)
		}
		if l := n.lease(id, ledger.Intent); !l.Unsettled || l.UID != block {
			t.Errorf("lease %+v", l)
		}
		c.Pid = uint32(pid)
		if err := n.runtime.StartContainer(ctx, &api.StartContainerRequest{Pod: p, Container: c}); err != nil {
			t.Fatal(err)
		}
	}
	parked, _ := n.parkAs("u1", 1000)
	start("u1", parked)
	if l := n.lease("u1", ledger.Done); l.UID != block+1000 || l.GID != block+1000 || l.Unsettled {
		t.Errorf("lease %+v", l)
	}
	for _, name := range []string{"subuid", "subgid"} {
		if b, err := os.ReadFile(filepath.Join(n.w.FilesDir("u1"), name)); err != nil || string(b) != "1000:1:999\n1000:1001:64535\n" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if n.unprepared() != 0 {
		t.Errorf("counted as unprepared:\n%s", n.log)
	}
	start("u2", 0)
	n.lease("u2", ledger.Intent)
	if n.unprepared() != 1 || !strings.Contains(n.log.String(), "the runtime did not tell the container's user") {
		t.Errorf("%d unprepared:\n%s", n.unprepared(), n.log)
	}
}

// A container of a pod without a user namespace gets host ids; one that is
// removed before it starts gives them back.
func TestHostIDs(t *testing.T) {
	n := newNode(t, nil)
	p, c := pod("dev"), container("c2")
	p.Pid, c.User = 0, nil
	if _, err := n.create(p, c); err != nil {
		t.Fatal(err)
	}
	l := n.lease("c2", ledger.Intent)
	b, err := os.ReadFile(filepath.Join(n.w.FilesDir("c2"), "subuid"))
	if want := fmt.Sprintf("0:%d:65536\n", l.Range.Start); err != nil || string(b) != want || l.UID != 0 {
		t.Errorf("%q, want %q: %v", b, want, err)
	}
	if err := n.runtime.RemoveContainer(context.Background(), &api.RemoveContainerRequest{Pod: p, Container: c}); err != nil {
		t.Fatal(err)
	}
	n.wait()
	n.lease("c2", ledger.Tombstone)
}

// A container that runs already is prepared late, with a reservation or without.
func TestLate(t *testing.T) {
	n := newNode(t, nil)
	n.cgroup("c3")
	pid, _ := n.park("c3")
	pr := Profiles()[0].Profile
	pr.Files = false // the process has the mounts of the test
	v := prepare.Reservation{ID: "c3", Owner: ledger.Owner{ContainerID: "c3"}, Sandbox: identity.HostPID(pid), Profile: pr}
	if _, err := n.w.PrepareLate(context.Background(), v, identity.HostPID(pid)); err != nil {
		t.Fatal(err)
	}
	if l := n.lease("c3", ledger.Done); l.Cgroup != n.top+"/c3" || l.UID != block {
		t.Errorf("lease %+v", l)
	}
	n.cgroup("c4")
	pid, _ = n.park("c4")
	v.ID, v.Sandbox = "c4", identity.HostPID(pid)
	if _, err := n.w.Reserve(context.Background(), v); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also again
		if _, err := n.w.PrepareLate(context.Background(), v, identity.HostPID(pid)); err != nil {
			t.Fatal(err)
		}
	}
	if l := n.lease("c4", ledger.Done); l.Cgroup != n.top+"/c4" {
		t.Errorf("lease %+v", l)
	}
}

// What cannot be handed over is said, and fails only what requires it.
func TestNoCgroup(t *testing.T) {
	profiles := Profiles()
	profiles[1].Required = true
	n := newNode(t, func(o *Options) { o.Profiles = profiles })
	for annotation, fails := range map[string]bool{"dev": false, "build": true} {
		for i, path := range []string{"/", n.top + "/none", "/..", ""} {
			p, c := pod(annotation), container(fmt.Sprintf("%s-%d", annotation, i))
			p.Pid, c.Linux.CgroupsPath = 0, path
			if _, err := n.create(p, c); err != nil {
				t.Fatal(err)
			}
			err := n.runtime.StartContainer(context.Background(), &api.StartContainerRequest{Pod: p, Container: c})
			if (err != nil) != fails {
				t.Errorf("%s, cgroup %q: %v", annotation, path, err)
			}
			n.lease(c.Id, ledger.Intent)
		}
	}
	if got := n.unprepared(); got != 8 {
		t.Errorf("%d unprepared, want 8", got)
	}
}

// BenchmarkCreateReal leases a range of host ids for each container: the slowest
// way there is.
func BenchmarkCreateReal(b *testing.B) {
	n := newNode(b, func(o *Options) { o.Deadline = time.Second })
	i := 0
	for b.Loop() {
		measure(b, n.rig, &i)
	}
}
