//go:build host

package delegation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A cgroup is removed and made again between two steps: what was opened is
// dead, and the new one is not touched.
func TestReplacedBetweenSteps(t *testing.T) {
	r := newRig(t)
	r.mkdir("c")
	full, err := r.h.open(r.request("c"))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := full.steps()
	full.Close()
	if err != nil {
		t.Fatal(err)
	}
	for n := range steps {
		target, err := r.h.open(r.request("c"))
		if err != nil {
			t.Fatal(err)
		}
		steps, err := target.steps()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps[:n] {
			if err := s.do(context.Background()); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
		}
		_ = os.Remove(r.abs("c/init"))
		if err := os.Remove(r.abs("c")); err != nil {
			t.Fatal(err)
		}
		r.mkdir("c")
		r.mkdir("c/init")
		r.start("c", 0)
		for _, s := range steps[n:] {
			if err := s.do(context.Background()); !gone(err) {
				t.Errorf("%s on a dead cgroup: %v", s.name, err)
			}
		}
		target.Close()
		r.rooted("c")
		r.rooted("c/init")
		if r.read("c/cgroup.procs") == "" || r.read("c/cgroup.max.depth") != "max" || r.read("c/cgroup.subtree_control") != "" {
			t.Errorf("after step %d the new cgroup was changed", n)
		}
		r.write("c/cgroup.kill", "1")
		r.empty("c")
		if err := os.Remove(r.abs("c/init")); err != nil {
			t.Fatal(err)
		}
	}
}

// Mounts over a cgroup or its files lead nowhere.
func TestMounts(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	r := newRig(t)
	r.mkdir("c")
	r.mkdir("victim")
	good, victim := r.request("c"), r.request("victim")
	refused := func(what string, req Request) {
		t.Helper()
		if _, err := r.h.Delegate(context.Background(), req); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
		r.rooted("victim")
	}

	r.mount(r.abs("victim"), r.abs("c"), "", unix.MS_BIND)
	refused("a bind mount over the cgroup", good)
	asVictim := good
	asVictim.ID = victim.ID
	refused("the same, with the other's id", asVictim)
	if err := unix.Unmount(r.abs("c"), 0); err != nil {
		t.Fatal(err)
	}

	r.mkdir("deep")
	r.mkdir("deep/c")
	deep := r.request("deep/c")
	r.mount("none", r.abs("deep"), "tmpfs", 0)
	if err := os.Symlink(filepath.Join(r.h.mount, victim.Path), r.abs("deep/c")); err != nil {
		t.Fatal(err)
	}
	refused("a tmpfs with a link over the parent", deep)
	deep.ID = victim.ID
	refused("the same, with the other's id", deep)
	if err := unix.Unmount(r.abs("deep"), 0); err != nil {
		t.Fatal(err)
	}

	r.mount(r.abs("victim/cgroup.procs"), r.abs("c/cgroup.procs"), "", unix.MS_BIND)
	if steps, err := r.h.Delegate(context.Background(), good); !errors.Is(err, unix.EXDEV) || len(steps) > 0 {
		t.Errorf("a bind mount over cgroup.procs: %v %v", steps, err)
	}
	if err := unix.Unmount(r.abs("c/cgroup.procs"), 0); err != nil {
		t.Fatal(err)
	}
	r.mount(r.abs("victim/cgroup.threads"), r.abs("c/cgroup.threads"), "", unix.MS_BIND)
	if _, err := r.h.Delegate(context.Background(), good); !errors.Is(err, unix.EXDEV) {
		t.Errorf("a bind mount over cgroup.threads: %v", err)
	}
	r.rooted("victim")

	// A cgroup2 that is read-only here.
	roMount := t.TempDir()
	r.mount(r.h.mount, roMount, "", unix.MS_BIND)
	if err := unix.Mount("", roMount, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	ro, err := Open(roMount, "/sys")
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	var step *StepError
	if _, err := ro.Delegate(context.Background(), victim); !errors.Is(err, unix.EROFS) || !errors.As(err, &step) || !strings.Contains(step.Fix, "read-write") {
		t.Errorf("read-only: %v", err)
	}
	// The list of what may be given away is read through a mount too.
	fake := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(fake, "kernel/cgroup"), 0o700),
		os.WriteFile(filepath.Join(fake, "kernel/cgroup/delegate"), []byte("cgroup.procs\n../x/cgroup.kill"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(r.h.mount, fake); !errors.Is(err, ErrRefused) {
		t.Errorf("a forged list: %v", err)
	}
}

// Processes that fork all the time are all moved.
func TestForking(t *testing.T) {
	r := newRig(t)
	c, parked := r.sandbox("c")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	started := make(chan struct{})
	var n int
	wg.Go(func() {
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if errno := parked.do("child", "", ""); errno != 0 {
				t.Errorf("fork: %v", errno)
			}
			if n == 3 {
				close(started)
			}
		}
	})
	<-started
	steps, err := r.h.Delegate(context.Background(), r.request(c))
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatalf("%v, %v", steps, err)
	}
	if got := r.read("c/cgroup.procs"); got != "" {
		t.Errorf("left behind: %q", got)
	}
	if moved := len(strings.Fields(r.read("c/init/cgroup.procs"))); moved != n+1 {
		t.Errorf("%d processes in the leaf, want the parked one and its %d children", moved, n)
	}
	if diff, err := r.h.Verify(r.request(c)); err != nil || diff != nil {
		t.Errorf("Verify: %v %v", diff, err)
	}
}

// A delegate that makes and removes cgroups while they are taken from it.
func TestUndelegateHostile(t *testing.T) {
	r := newRig(t)
	c, _ := r.sandbox("c")
	steps := r.delegate(c)
	u := r.start("c/init", testID)
	for n := range 20 {
		u.want(0, "mkdir", fmt.Sprintf("c/d%d", n), "")
		u.want(0, "mkdir", fmt.Sprintf("c/d%d/e", n), "")
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range 20 {
			u.do("rmdir", fmt.Sprintf("c/d%d/e", n), "")
			u.do("rmdir", fmt.Sprintf("c/d%d", n), "")
			u.do("mkdir", fmt.Sprintf("c/f%d", n), "")
		}
	})
	_, err := r.h.Undelegate(context.Background(), r.request(c), steps)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	r.rooted("c")
	entries, err := os.ReadDir(r.abs("c"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			r.rooted("c/" + e.Name())
		}
	}
	u.want(unix.EACCES, "mkdir", "c/late", "")
}

func TestCancelled(t *testing.T) {
	r := newRig(t)
	c, _ := r.sandbox("c")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if steps, err := r.h.Delegate(ctx, r.request(c)); !errors.Is(err, context.Canceled) || steps != nil {
		t.Errorf("Delegate: %v %v", steps, err)
	}
	r.rooted(c)
	steps := r.delegate(c)
	if _, err := r.h.Undelegate(ctx, r.request(c), steps); !errors.Is(err, context.Canceled) {
		t.Errorf("Undelegate: %v", err)
	}
	r.handed(c)
}
