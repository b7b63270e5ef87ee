//go:build host

package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/cgroups"
)

// oomLab is a sandbox in a pod's cgroup, with a cgroup for containers inside.
type oomLab struct {
	t                *testing.T
	mount            string
	base, pod, outer string // below the mount
	nest             string
	shell            io.Writer // of the sandbox: a line is a command
}

func newOOMLab(t *testing.T) *oomLab {
	t.Helper()
	h, err := cgroups.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	l := &oomLab{t: t, mount: h.Mount(), base: fmt.Sprintf("/eyas-oom-%d", os.Getpid())}
	l.pod = l.base + "/kubepods/pod11111111-2222-3333-4444-555555555555"
	l.outer = l.pod + "/" + strings.Repeat("ab", 32)
	l.nest = l.outer + "/build"
	if l.read("/", "cgroup.controllers"); !strings.Contains(l.read("/", "cgroup.controllers")+" ", "memory ") {
		if os.Getenv("EYAS_VM") != "" {
			t.Fatal("no memory controller in the v2 hierarchy")
		}
		t.Skip("the memory controller belongs to a v1 hierarchy here")
	}
	dirs := []string{l.base, l.base + "/kubepods", l.pod, l.outer, l.nest, l.outer + "/leaf"}
	t.Cleanup(func() {
		l.write(l.base, "cgroup.kill", "1")
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := poll(ctx, nil, func() error { return os.Remove(filepath.Join(l.mount, dirs[i])) }); err != nil {
				t.Error(err)
			}
		}
	})
	for i, d := range dirs {
		if err := os.Mkdir(filepath.Join(l.mount, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if i < 4 {
			l.write(d, "cgroup.subtree_control", "+memory")
		}
	}
	l.startSandbox()
	return l
}

func (l *oomLab) read(cgroup, file string) string {
	b, err := os.ReadFile(filepath.Join(l.mount, cgroup, file))
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (l *oomLab) write(cgroup, file, text string) {
	l.t.Helper()
	if err := writeExisting(filepath.Join(l.mount, cgroup, file), text); err != nil {
		l.t.Fatal(err)
	}
}

func (l *oomLab) startSandbox() {
	dir, err := os.Open(filepath.Join(l.mount, l.outer, "leaf"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--uts",
		"sh", "-c", `hostname sandbox; while read -r c; do sh -c "$c" & done; exec sleep 1000`)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if l.shell, err = cmd.StdinPipe(); err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill() // may be dead
		_ = cmd.Wait()
	})
}

// nested starts a container inside, in the cgroup for them.
func (l *oomLab) nested(name, script string) {
	fmt.Fprintf(l.shell, "exec unshare --pid --fork --kill-child --uts sh -c 'hostname %s; echo 0 >%s; %s'\n",
		name, filepath.Join(l.mount, l.nest, "cgroup.procs"), script)
}

// kernelKill is what the kernel's log says of a kill.
type kernelKill struct {
	Limit, Cgroup, Comm string
	PID                 string
}

var oomLine = regexp.MustCompile(`oom-kill:\S*,oom_memcg=([^,]*),task_memcg=([^,]*),task=([^,]*),pid=(\d+),`)

// kernelSays returns the last kill that the kernel's log tells of.
func kernelSays(t *testing.T) (k kernelKill) {
	t.Helper()
	log, err := exec.Command("dmesg").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range oomLine.FindAllStringSubmatch(string(log), -1) {
		k = kernelKill{m[1], m[2], m[3], m[4]}
	}
	return k
}
