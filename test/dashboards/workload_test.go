//go:build host

package dashboards

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/cgroups"
)

// outer is a container whose root is an overlay, in which a program does what is
// counted: it reads, writes, copies files up, is refused something and prints lines.
const outer = `set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/lower /mnt/upper /mnt/work /mnt/root
head -c 10000000 /dev/zero | split -b 5000 -a 4 -d - /mnt/lower/file
for d in usr lib lib64 bin dev proc; do [ ! -e /$d ] || mkdir /mnt/lower/$d; done
mount -t overlay overlay -o userxattr,lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
for d in usr lib lib64 bin dev; do [ ! -e /$d ] || mount --rbind /$d /mnt/root/$d; done
mount -t proc proc /mnt/root/proc
exec chroot /mnt/root sh -c '
	(for f in /file*; do
		cat $f >/dev/null; echo more >>$f; head -c 3000 $f
		mknod /device b 8 0 2>/dev/null
		sleep 0.1
	done) &
	exec unshare --pid --fork --kill-child sh -c "while :; do echo a line of the inner one; sleep 0.1; done"'
`

// workload tells which controllers its cgroup has.
type workload struct{ controllers []string }

func (w workload) has(name string) bool { return slices.Contains(w.controllers, name) }

// newWorkload starts a sandbox in a cgroup with limits, as far as there are any.
func newWorkload(t *testing.T) (w workload) {
	t.Helper()
	h, err := cgroups.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(h.Mount(), fmt.Sprintf("eyas-dashboards-%d", os.Getpid()))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	box := filepath.Join(base, strings.Repeat("ab", 32))
	for _, dir := range []string{base, box} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			until(t, 10*time.Second, nil, func() error { return os.Remove(dir) })
		})
		if dir == base {
			text, err := os.ReadFile(filepath.Join(base, "cgroup.controllers"))
			if err != nil {
				t.Fatal(err)
			}
			w.controllers = strings.Fields(string(text))
			for _, c := range []string{"memory", "pids", "cpu", "io"} {
				if w.has(c) {
					write(t, base, "cgroup.subtree_control", "+"+c)
				}
			}
		}
	}
	for file, limit := range map[string]string{"memory.max": "100M", "memory.swap.max": "0", "pids.max": "50", "cpu.max": "50000 100000"} {
		if c, _, _ := strings.Cut(file, "."); w.has(c) {
			if _, err := os.Stat(filepath.Join(box, file)); err == nil || file != "memory.swap.max" {
				write(t, box, file, limit)
			}
		}
	}
	dir, err := os.Open(box)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	run := func(script string) *program {
		c := exec.Command("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script)
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		pipe, w, err := os.Pipe() // a stream that is a pipe is a log
		if err != nil {
			t.Fatal(err)
		}
		c.Stdout = w
		go func() { _, _ = io.Copy(io.Discard, pipe) }()
		t.Cleanup(func() { w.Close(); pipe.Close() })
		return start(t, c)
	}
	run(outer)
	if w.has("memory") {
		run(`tail /dev/zero; exec sleep 1000`) // the OOM killer ends tail
	}
	return w
}

func write(t *testing.T, dir, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}
