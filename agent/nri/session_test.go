package nri

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/ledger"
)

// Synchronize finds what was missed while nobody listened: containers without a
// lease, and leases without a container.
func TestSynchronize(t *testing.T) {
	r := &rig{TB: t, fake: newFake(), socket: t.TempDir() + "/nri.sock", synced: make(chan error, 10), log: newBuffer()}
	late := Profiles()
	late[1].Late = true
	in := func(podID, id string, state api.ContainerState, pid uint32) *api.Container {
		c := container(id)
		c.PodSandboxId, c.State, c.Pid = podID, state, pid
		return c
	}
	dev, build, none, bad := pod("dev"), pod("build"), pod(""), pod("\x1b")
	dev.Id, build.Id, none.Id, bad.Id = "dev", "build", "none", "bad"
	r.pods = []*api.PodSandbox{dev, build, none, bad}
	const running, created, stopped = api.ContainerState_CONTAINER_RUNNING, api.ContainerState_CONTAINER_CREATED, api.ContainerState_CONTAINER_STOPPED
	r.cs = []*api.Container{
		in("dev", "prepared", running, 1), in("dev", "missed", running, 2), in("dev", "half", running, 3), in("dev", "waits", created, 4),
		in("dev", "over", stopped, 0), in("build", "late", running, 6), in("build", "no-pid", running, 0), in("none", "plain", running, 7),
		in("bad", "hostile", running, 8), in("unknown", "orphan", running, 9),
	}
	for id, state := range map[string]ledger.State{
		"prepared": ledger.Done, "half": ledger.Intent, "waits": ledger.Intent, "over": ledger.Done, "gone": ledger.Done,
		"never": ledger.Intent, "buried": ledger.Tombstone, "pid-1-2": ledger.Done,
	} {
		owner := ledger.Owner{ContainerID: id}
		if strings.HasPrefix(id, "pid-") {
			owner.ContainerID = "by-hand"
		}
		r.set(id, state, owner)
	}
	r.start()
	t.Cleanup(func() { r.runtime.Stop() })
	r.plugin(func(o *Options) { o.Profiles = late })
	r.sync()
	want := []string{"drop gone", "drop never", "drop over", "late late pid 6"}
	var got []string
	for range want {
		select {
		case c := <-r.heard:
			got = append(got, c)
		case <-time.After(patience):
			t.Fatalf("only %q", got)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the preparer heard %q, want %q", got, want)
	}
	// "late" is settled by its job, which has been heard; the others are left.
	r.p.mu.Lock()
	delete(r.p.unprepared, "late")
	left := fmt.Sprint(r.p.unprepared)
	r.p.mu.Unlock()
	if left != "map[half:{dev team/web/main} hostile:{bad team/web/main} missed:{dev team/web/main} no-pid:{build team/web/main}]" {
		t.Errorf("unprepared: %s", left)
	}
}

// A runtime that restarts is found again, told of once each way, and
// synchronizes anew.
func TestReconnect(t *testing.T) {
	r := newRig(t, nil)
	connected := func() float64 { return gauge(t, r.p, "eyas_nri_connected") }
	if connected() != 1 {
		t.Error("connected, and the metric says no")
	}
	for n := range 3 {
		r.runtime.Stop()
		for _, c := range *r.clients { // Stop leaves them open
			c.Close()
		}
		r.log.wait(t, n+1, "not connected to a runtime")
		if connected() != 0 {
			t.Error("not connected, and the metric says so")
		}
		r.start()
		r.sync()
		if _, err := r.create(pod("true"), container("c")); err != nil {
			t.Fatal(err)
		}
		r.wait(t, "reserve c dev user 1000:1001 sandbox 77 of team/web")
	}
	text := r.log.String()
	if n := strings.Count(text, "not connected to a runtime"); n != 3 {
		t.Errorf("the loss was told %d times, want 3:\n%s", n, text)
	}
	if n := strings.Count(text, "sandboxes are prepared before they start"); n != 4 {
		t.Errorf("the connection was told %d times, want 4:\n%s", n, text)
	}
}

// A machine without a runtime is told of once, and costs nothing else.
func TestNoRuntime(t *testing.T) {
	for _, optional := range []bool{true, false} {
		r := &rig{TB: t, fake: newFake(), socket: t.TempDir() + "/none.sock", log: newBuffer()}
		r.plugin(func(o *Options) { o.Optional = optional; o.Backoff = time.Millisecond })
		r.log.wait(t, 1, "\n")
		if text := r.log.String(); strings.Contains(text, `"warn"`) == optional || !strings.Contains(text, "none.sock") {
			t.Errorf("optional %v: %s", optional, text)
		}
		if gauge(t, r.p, "eyas_nri_connected") != 0 {
			t.Error("the metric says connected")
		}
	}
}

// other is a plugin with the same index that wants the same.
type other struct{}

func (other) CreateContainer(context.Context, *api.PodSandbox, *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	a := &api.ContainerAdjustment{}
	a.AddLinuxUnified("cgroup.max.depth", "1")
	return a, nil, nil
}

// Indices are checked here, not by the runtime; two plugins may share one, and
// where both set the same the runtime names both.
func TestIndexConflict(t *testing.T) {
	for _, index := range []string{"5", "100", "x0", "-1"} {
		if _, err := New(Options{Index: index}); err == nil || !strings.Contains(err.Error(), "index") {
			t.Errorf("index %q: %v", index, err)
		}
	}
	if _, err := New(Options{Namespaces: map[string]string{"a": "nope"}}); err == nil || !strings.Contains(err.Error(), "dev, build") {
		t.Errorf("unknown profile: %v", err)
	}
	r := newRig(t, nil)
	st, err := stub.New(other{}, stub.WithPluginName("other"), stub.WithPluginIdx("50"), stub.WithSocketPath(r.socket), stub.WithLogger(logger{zerolog.Nop()}))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer st.Stop()
	r.sync()
	if _, err := r.create(pod(""), container("plain")); err != nil {
		t.Errorf("no sandbox: %v", err)
	}
	_, err = r.create(pod("dev"), container("c"))
	if err == nil || !strings.Contains(err.Error(), "50-eyas") || !strings.Contains(err.Error(), "50-other") {
		t.Errorf("both set cgroup.max.depth: %v", err)
	}
	// The container never exists; its pod's end gives the lease back.
	if err := r.runtime.RemovePodSandbox(context.Background(), &api.RemovePodSandboxRequest{Pod: pod("dev")}); err != nil {
		t.Error(err)
	}
	r.wait(t, "drop c")
}

// Answers come in time though the work does not, and bugs do not leave the
// request in which they show.
func TestDeadlineAndPanic(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Deadline = 20 * time.Millisecond })
	release := make(chan struct{})
	r.stall = func(context.Context) { <-release }
	start := time.Now()
	a, err := r.create(pod("dev"), container("slow"))
	if took := time.Since(start); err != nil || len(a.GetMounts()) > 0 || took > time.Second {
		t.Errorf("%v, %v after %s", a, err, took)
	}
	close(release)
	r.wait(t, "drop slow") // what came too late is given back
	r.p.mu.Lock()
	r.p.deadline = time.Minute // a bug's stack is logged before the answer
	r.p.mu.Unlock()
	r.stall = func(context.Context) { panic("x\x1b") }
	if _, err := r.create(pod("dev"), container("bug")); err != nil {
		t.Error(err)
	}
	if r.count("CreateContainer", resultTimeout) != 1 || r.count("CreateContainer", resultPanic) != 1 {
		t.Errorf("not counted:\n%s", r.log)
	}
	if n := r.unprepared(); n != 2 {
		t.Errorf("%d unprepared, want 2", n)
	}
	if problems, err := testutil.CollectAndLint(r.p); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

// A runtime that is told to be patient gives eyas time as well.
func TestDeadlineFollowsRuntime(t *testing.T) {
	adaptation.SetPluginRequestTimeout(20 * time.Second)
	t.Cleanup(func() { adaptation.SetPluginRequestTimeout(adaptation.DefaultPluginRequestTimeout) })
	r := newRig(t, func(o *Options) { o.Deadline = 0 })
	deadline := func() time.Duration {
		r.p.mu.Lock()
		defer r.p.mu.Unlock()
		return r.p.deadline
	}
	if got := deadline(); got != 15*time.Second {
		t.Errorf("deadline of %s, want 15 s", got)
	}
	r.p.setDeadline(0) // a runtime that does not tell
	if got := deadline(); got != 1500*time.Millisecond {
		t.Errorf("deadline of %s, want 1.5 s", got)
	}
}

// Who asks is told when the runtime is connected, so that what was checked before is
// checked again.
func TestChanged(t *testing.T) {
	changed := make(chan struct{}, 10)
	newRig(t, func(o *Options) { o.Changed = func() { changed <- struct{}{} } })
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("never told that it is connected")
	}
}
