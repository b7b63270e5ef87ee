//go:build host

package delegation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// handed is what the owners must be: exactly the kernel's list is given away.
func (r *rig) handed(rel string) {
	r.Helper()
	got := r.owners(rel)
	want := map[string]owner{}
	for name := range got {
		if name == "." || slices.Contains(r.h.files, name) {
			want[name] = owner{testID, testID}
		} else {
			want[name] = owner{}
		}
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(owner{})); d != "" {
		r.Errorf("owners in %q (-want +got):\n%s", rel, d)
	}
}

func (r *rig) rooted(rel string) {
	r.Helper()
	for name, o := range r.owners(rel) {
		if o != (owner{}) {
			r.Errorf("%s/%s belongs to %v", rel, name, o)
		}
	}
}

func TestDelegateHost(t *testing.T) {
	r := newRig(t)
	c, parked := r.sandbox("c")
	req := r.request(c)
	ctx := context.Background()

	plan, err := r.h.Plan(req)
	if err != nil {
		t.Fatal(err)
	}
	var planned []string
	for _, a := range plan {
		planned = append(planned, a.Step)
		t.Log(a.Step, a.Changes)
	}
	r.rooted(c) // a plan changes nothing
	if _, err := os.Stat(r.abs("c/init")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the plan made a leaf: %v", err)
	}

	steps := r.delegate(c)
	if d := cmp.Diff(planned, steps); d != "" {
		t.Errorf("planned and done differ:\n%s", d)
	}
	r.handed(c)
	r.handed("c/init")
	if got := r.read("c/init/cgroup.procs"); got != fmt.Sprint(parked.cmd.Process.Pid) {
		t.Errorf("in the leaf: %q", got)
	}
	if got := r.read("c/cgroup.procs"); got != "" {
		t.Errorf("left behind: %q", got)
	}
	if got := r.read("c/cgroup.max.descendants") + " " + r.read("c/cgroup.max.depth"); got != "512 16" {
		t.Errorf("bounds: %s", got)
	}
	if a, b := r.read("c/cgroup.controllers"), r.read("c/cgroup.subtree_control"); a != b {
		t.Errorf("controllers %q, enabled %q", a, b)
	}
	if diff, err := r.h.Verify(req); err != nil || diff != nil {
		t.Errorf("Verify: %v %v", diff, err)
	}
	if again, err := r.h.Delegate(ctx, req); err != nil || again != nil {
		t.Errorf("the second time: %v %v", again, err)
	}
	if busy, err := r.h.Populated(req); err != nil || !busy {
		t.Errorf("Populated: %v %v", busy, err)
	}

	// A process that an exec put into the cgroup itself is moved by the next call.
	if r.read("c/cgroup.subtree_control") == "" {
		r.start(c, 0)
		if again := r.delegate(c); !slices.Equal(again, []string{"move"}) {
			t.Errorf("with another process: %v", again)
		}
	}

	// Taken back while the container lives: the process stays where it is.
	undone, err := r.h.Undelegate(ctx, req, steps)
	if err != nil || !slices.Equal(undone, []string{"own:.", "own:init"}) && !slices.Equal(undone, []string{"own:."}) {
		t.Errorf("undone %v, %v", undone, err)
	}
	r.rooted(c)
	r.rooted("c/init")
	r.write("c/cgroup.kill", "1")
	r.empty(c)
	if busy, err := r.h.Populated(req); err != nil || busy {
		t.Errorf("Populated: %v %v", busy, err)
	}
	undone, err = r.h.Undelegate(ctx, req, steps)
	if err != nil || !slices.Equal(undone, []string{"leaf:init"}) {
		t.Errorf("undone %v, %v", undone, err)
	}
	if err := os.Remove(r.abs(c)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // gone, then replaced: nothing to do, and nothing touched
		if undone, err := r.h.Undelegate(ctx, req, steps); err != nil || undone != nil {
			t.Errorf("of a cgroup that is gone: %v, %v", undone, err)
		}
		if _, err := r.h.Populated(req); !gone(err) {
			t.Errorf("Populated: %v", err)
		}
		if _, err := r.h.Delegate(ctx, req); !errors.Is(err, ErrGone) && !errors.Is(err, ErrReplaced) {
			t.Errorf("Delegate: %v", err)
		}
		if _, err := os.Stat(r.abs(c)); err != nil {
			r.mkdir(c)
		}
	}
	if _, err := os.Stat(r.abs("c/init")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the new cgroup was touched")
	}
}

// What the delegate can do, and what not: done by a process with its uid.
func TestUser(t *testing.T) {
	r := newRig(t)
	c, _ := r.sandbox("c")
	req := r.request(c)
	req.MaxDescendants, req.MaxDepth = 10, 3
	if _, err := r.h.Delegate(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	u := r.start("c/init", testID)
	self := fmt.Sprint(u.cmd.Process.Pid)

	u.want(0, "mkdir", "c/box", "")
	u.want(0, "write", "c/box/cgroup.procs", self) // out of the leaf, within the delegation
	if got := r.read("c/box/cgroup.procs"); got != self {
		t.Errorf("moved: %q", got)
	}
	u.want(0, "write", "c/init/cgroup.procs", self)
	u.want(0, "write", "c/box/cgroup.max.descendants", "5")
	for _, file := range []string{"cgroup.max.descendants", "cgroup.max.depth", "cgroup.freeze", "cgroup.kill"} {
		u.want(unix.EACCES, "write", "c/"+file, "1")
	}
	u.want(unix.EACCES, "mkdir", "outside", "")
	u.want(unix.EACCES, "write", "cgroup.procs", self)

	// The bounds hold: 10 below, with init and box; 3 deep.
	made := 0
	for n := range 100 {
		errno := u.do("mkdir", fmt.Sprintf("c/storm%d", n), "")
		if errno == 0 {
			made++
		} else if errno != unix.EAGAIN {
			t.Fatalf("storm: %v", errno)
		}
	}
	if made != 8 {
		t.Errorf("a storm made %d cgroups beside init and box, want 8", made)
	}
	for n := range 100 {
		u.do("rmdir", fmt.Sprintf("c/storm%d", n), "")
	}
	u.want(0, "write", "c/box/cgroup.max.descendants", "max")
	u.want(0, "mkdir", "c/box/two", "")
	u.want(0, "mkdir", "c/box/two/three", "")
	u.want(unix.EAGAIN, "mkdir", "c/box/two/three/four", "")
	if diff, err := r.h.Verify(req); err != nil || diff != nil {
		t.Errorf("Verify of a delegation in use: %v %v", diff, err)
	}

	// All of it goes back to root, also what a mapped id has made.
	if err := os.Chown(r.abs("c/box/two/cgroup.procs"), testID+5, testID+5); err != nil {
		t.Fatal(err)
	}
	if undone, err := r.h.Undelegate(context.Background(), req, []string{"own:init", "own:."}); err != nil || !slices.Contains(undone, "own:.") {
		t.Errorf("undone %v, %v", undone, err)
	}
	for _, d := range []string{"c", "c/init", "c/box", "c/box/two", "c/box/two/three"} {
		r.rooted(d)
	}
	u.want(unix.EACCES, "mkdir", "c/late", "")
}

func TestControllers(t *testing.T) {
	r := newRig(t)
	r.controllers("memory", "pids")
	c, _ := r.sandbox("c")
	r.write("cgroup.subtree_control", "+memory +pids")
	steps := r.delegate(c)
	for _, s := range []string{"enable:memory", "enable:pids"} {
		if !slices.Contains(steps, s) {
			t.Errorf("steps %v lack %s", steps, s)
		}
	}
	r.handed(c)
	r.handed("c/init")
	u := r.start("c/init", testID)
	u.want(0, "mkdir", "c/box", "")
	u.want(0, "write", "c/box/memory.max", "67108864")
	u.want(0, "write", "c/box/pids.max", "7")
	if got := r.read("c/box/memory.max") + " " + r.read("c/box/pids.max"); got != "67108864 7" {
		t.Errorf("limits: %s", got)
	}
	for _, file := range []string{"memory.max", "pids.max"} {
		u.want(unix.EACCES, "write", "c/"+file, "max")
	}
	// The engine itself can delegate further.
	u.want(0, "mkdir", "c/box/inner", "")
	u.want(0, "write", "c/box/cgroup.subtree_control", "+memory +pids")
	u.want(0, "write", "c/box/inner/memory.max", "33554432")
	u.want(unix.EBUSY, "write", "c/box/cgroup.procs", "0")

	req := r.request(c)
	if diff, err := r.h.Verify(req); err != nil || diff != nil {
		t.Errorf("Verify: %v %v", diff, err)
	}

	// An exec put a process into the cgroup after the move.
	r.sandbox("race")
	target, err := r.h.open(r.request("race"))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	list, err := target.steps()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.name == "enable:memory" {
			r.start("race", 0)
			if err := target.write("cgroup.subtree_control", "+memory"); !errors.Is(err, unix.EBUSY) {
				t.Errorf("memory, with a process inside: %v", err)
			}
		}
		if err := s.do(context.Background()); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	if got := len(strings.Fields(r.read("race/init/cgroup.procs"))); got != 2 {
		t.Errorf("%d processes in the leaf, want 2", got)
	}

	// One that the kernel does not have.
	r.sandbox("wrong")
	bad := r.request("wrong")
	bad.Controllers = []string{"nosuch"}
	_, err = r.h.Delegate(context.Background(), bad)
	var step *StepError
	if !errors.As(err, &step) || step.Step != "enable:nosuch" || !errors.Is(err, unix.EINVAL) {
		t.Errorf("unknown controller: %v", err)
	}

	// One that the parent does not pass on.
	r.mkdir("shut")
	r.mkdir("shut/c")
	no := r.request("shut/c")
	no.Controllers = []string{"memory"}
	if _, err := r.h.Delegate(context.Background(), no); !errors.As(err, &step) || !errors.Is(err, unix.ENOENT) || errors.Is(err, ErrGone) || !strings.Contains(step.Why, "parent") {
		t.Errorf("a controller of which the parent does not know: %v", err)
	}

	// An engine was first: pids is enabled while processes are inside.
	r.sandbox("late")
	r.write("late/cgroup.subtree_control", "+pids")
	if got := r.read("late/cgroup.type"); got != typeDomainThreaded {
		t.Fatalf("type %q", got)
	}
	if _, err := r.h.Delegate(context.Background(), r.request("late")); !errors.Is(err, ErrThreaded) {
		t.Errorf("threaded domain: %v", err)
	}
	r.rooted("late")
}

func TestVerify(t *testing.T) {
	r := newRig(t)
	c, _ := r.sandbox("c")
	r.delegate(c)
	req := r.request(c)
	for name, tc := range map[string]struct {
		break_ func()
		want   Difference
	}{
		"owner":     {func() { _ = os.Chown(r.abs("c/cgroup.procs"), 7, 7) }, Difference{"cgroup.procs", "of 805307368:805307368", "of 7:7"}},
		"directory": {func() { _ = os.Chown(r.abs("c"), 0, testID) }, Difference{".", "of 805307368:805307368", "of 0:805307368"}},
		"leaf's":    {func() { _ = os.Chown(r.abs("c/init/cgroup.threads"), 0, 0) }, Difference{"init/cgroup.threads", "of 805307368:805307368", "of 0:0"}},
		"bound":     {func() { r.write("c/cgroup.max.descendants", "max") }, Difference{"cgroup.max.descendants", "512", "max"}},
		"depth":     {func() { r.write("c/cgroup.max.depth", "17") }, Difference{"cgroup.max.depth", "16", "17"}},
	} {
		tc.break_()
		if diff, err := r.h.Verify(req); err != nil || !slices.Equal(diff, []Difference{tc.want}) {
			t.Errorf("%s: %v %v", name, diff, err)
		}
		r.delegate(c) // mends it
		if diff, err := r.h.Verify(req); err != nil || diff != nil {
			t.Errorf("%s, mended: %v %v", name, diff, err)
		}
	}
	_ = os.Chown(r.abs("c/cgroup.max.depth"), testID, testID)
	r.write("c/cgroup.max.descendants", "100") // stricter is well
	if diff, err := r.h.Verify(req); err != nil || !slices.Equal(diff, []Difference{{"cgroup.max.depth", "of root", "of 805307368:805307368"}}) {
		t.Errorf("too much given away: %v %v", diff, err)
	}
	r.delegate(c)
	if got := r.read("c/cgroup.max.descendants"); got != "100" {
		t.Errorf("a stricter bound became %s", got)
	}
}

// endsAfter is a context that ends after some looks at it.
type endsAfter struct {
	context.Context
	looks int
}

func (c *endsAfter) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// Stopped at any point and called again, it comes to the same end.
func TestResumed(t *testing.T) {
	r := newRig(t)
	for n := 0; ; n++ {
		name := fmt.Sprint("c", n)
		r.sandbox(name)
		req := r.request(name)
		first, err := r.h.Delegate(&endsAfter{context.Background(), n}, req)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		stopped := err != nil
		second := r.delegate(name)
		if diff, err := r.h.Verify(req); err != nil || diff != nil {
			t.Errorf("stopped after %v: %v %v", first, diff, err)
		}
		union := slices.Compact(append(first, second...)) // the step that failed is in both
		for _, s := range []string{"bound:cgroup.max.descendants", "bound:cgroup.max.depth", "leaf:init", "move", "own:init", "own:."} {
			if !slices.Contains(union, s) {
				t.Errorf("steps %v and %v lack %s", first, second, s)
			}
		}
		if !stopped {
			return
		}
	}
}

// Root inside of a cgroup namespace cannot lift the bounds of its own root if,
// and only if, the mount has nsdelegate.
func TestNSDelegate(t *testing.T) {
	r := newRig(t)
	o, err := ReadMountOptions("/proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", o)
	r.mkdir("c")
	u := r.startWith("c", 0, unix.CLONE_NEWCGROUP)
	want := unix.Errno(0)
	if o.NSDelegate {
		want = unix.EPERM
	}
	u.want(want, "write", "c/cgroup.max.descendants", "max")
	if !o.ReadWrite {
		t.Errorf("%s was written to, but is said to be read-only", o.MountPoint)
	}
}

func TestThreaded(t *testing.T) {
	r := newRig(t)
	for _, d := range []string{"p", "p/threaded", "p/invalid"} {
		r.mkdir(d)
	}
	r.write("p/threaded/cgroup.type", "threaded")
	for rel, kind := range map[string]string{"p": typeDomainThreaded, "p/threaded": typeThreaded, "p/invalid": typeDomainInvalid} {
		if got := r.read(rel + "/cgroup.type"); got != kind {
			t.Fatalf("%s is %q", rel, got)
		}
		req := r.request(rel)
		if steps, err := r.h.Delegate(context.Background(), req); !errors.Is(err, ErrThreaded) || steps != nil {
			t.Errorf("%s: %v %v", kind, steps, err)
		}
		if diff, err := r.h.Verify(req); err != nil || !slices.Contains(diff, Difference{"cgroup.type", typeDomain, kind}) {
			t.Errorf("%s: %v %v", kind, diff, err)
		}
		r.rooted(rel)
	}
}

func TestBoundAbove(t *testing.T) {
	r := newRig(t)
	c, parked := r.sandbox("c")
	r.write("cgroup.max.descendants", "1")
	steps, err := r.h.Delegate(context.Background(), r.request(c))
	var step *StepError
	if !errors.Is(err, unix.EAGAIN) || !errors.As(err, &step) || step.Step != "leaf:init" || !strings.Contains(step.Why, "max.descendants") {
		t.Errorf("%v, %v", steps, err)
	}
	r.rooted(c)
	if got := r.read("c/cgroup.procs"); got != fmt.Sprint(parked.cmd.Process.Pid) {
		t.Errorf("the process has moved: %q", got)
	}
	r.write("cgroup.max.descendants", "max")
	if rest := r.delegate(c); rest[0] != "leaf:init" {
		t.Errorf("the rest: %v", rest)
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	c, _ := r.sandbox("c")
	r.mkdir("other")
	good, other := r.request(c), r.request("other")
	for name, tc := range map[string]struct {
		req Request
		err error
	}{
		"empty path":       {Request{ID: good.ID, UID: testID, GID: testID}, ErrRefused},
		"root":             {Request{Path: "/", ID: good.ID, UID: testID, GID: testID}, ErrRefused},
		"root's own id":    {Request{Path: "/", ID: r.h.id, UID: testID, GID: testID}, ErrRefused},
		"root's id":        {Request{Path: good.Path, ID: r.h.id, UID: testID, GID: testID}, ErrRefused},
		"dots to the root": {Request{Path: good.Path + "/../..", ID: r.h.id, UID: testID, GID: testID}, ErrRefused},
		"other's id":       {Request{Path: good.Path, ID: other.ID, UID: testID, GID: testID}, ErrReplaced},
		"no such":          {Request{Path: good.Path + "x", ID: good.ID, UID: testID, GID: testID}, ErrGone},
		"a file":           {Request{Path: good.Path + "/cgroup.procs", ID: good.ID, UID: testID, GID: testID}, unix.ENOTDIR},
	} {
		if steps, err := r.h.Delegate(context.Background(), tc.req); !errors.Is(err, tc.err) || steps != nil {
			t.Errorf("%s: %v %v", name, steps, err)
		}
		if _, err := r.h.Plan(tc.req); !errors.Is(err, tc.err) {
			t.Errorf("plan, %s: %v", name, err)
		}
	}
	// A caller that took its own cgroup for the container's.
	ours, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	r.mkdir("self")
	r.write("self/cgroup.procs", "0")
	steps, err := r.h.Delegate(context.Background(), r.request("self"))
	for line := range strings.Lines(string(ours)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			back := filepath.Join(r.h.mount, path, "cgroup.procs")
			if err := os.WriteFile(back, []byte("0"), 0); err != nil {
				t.Error(err)
			}
		}
	}
	if !errors.Is(err, ErrRefused) || steps != nil {
		t.Errorf("ourselves: %v %v", steps, err)
	}
	for _, d := range []string{"", "c", "other", "self"} {
		r.rooted(d)
	}
}

func TestOpenV1(t *testing.T) {
	const v1 = "/sys/fs/cgroup/pids"
	var st unix.Statfs_t
	if err := unix.Statfs(v1, &st); err != nil || st.Type != unix.CGROUP_SUPER_MAGIC {
		t.Skip("no cgroup v1 hierarchy is mounted here")
	}
	if _, err := Open(v1, "/sys"); !errors.Is(err, ErrRefused) {
		t.Errorf("cgroup v1: %v", err)
	}
}
