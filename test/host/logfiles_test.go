//go:build host

package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestLogFiles: where the kernel's programs are not, lines come from the files of the
// engines in sandboxes. A rootless podman in a sandbox runs a container that writes
// many lines, and others that are gone at once, with their files: nothing is missing,
// twice or out of order, from the first line to the last.
func TestLogFiles(t *testing.T) {
	const lines, short = 100000, 5
	file := filepath.Join(t.TempDir(), "lines")
	a := startAgent(t, "", "--logs", "nested", "--logs-source", "files", "--logs-output", file, "--reconcile-interval", "5s")
	w := &workload{newLab(t), a}
	t.Cleanup(w.sweep)
	outerName := "outer-" + w.number
	podman := call{w, 0, w.podman(0)}
	w.load(0)
	podman.run(w.sandbox(outerName, "mkdir -m 700 /home/dev && chown dev:dev /home/dev && exec sleep 73001")...)
	inside := call{w, 0, append(w.podman(0), "exec", "--user", "dev", "--env", "HOME=/home/dev", "--env", "XDG_RUNTIME_DIR=/run/dev", outerName,
		"podman", "--storage-driver", "vfs", "--runtime", runtime())}
	inside.run("load", "--quiet", "--input", "/image.tar")
	run := func(script string, more ...string) {
		args := []string{"run", "--log-driver", "k8s-file", "--network", "none"}
		inside.run(append(append(args, more...), imageName, "sh", "-c", script)...)
	}
	var many, errs strings.Builder
	for i := range lines {
		many.WriteString(strconv.Itoa(i+1) + "\n")
		errs.WriteString(strconv.Itoa(lines+i+1) + "\n")
	}
	want := []string{many.String(), errs.String()}
	run(fmt.Sprintf("seq 1 %d & seq %d %d >&2; wait", lines, lines+1, 2*lines), "--detach", "--name", "many")
	for i := range short {
		run(fmt.Sprintf("echo first %d; printf last", i), "--rm")
		want = append(want, fmt.Sprintf("first %d\nlast", i))
	}
	total := 0
	for _, s := range want {
		total += len(s)
	}
	got := openLogged(t, file)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := poll(ctx, a.done, func() error {
		if got.read(); got.told < total {
			return errors.New("not all is told")
		}
		return nil
	}); err != nil {
		t.Errorf("%d bytes told and %d dropped, of %d: %v", got.told, got.dropped, total, err)
	}
	if got.dropped != 0 {
		t.Errorf("%d bytes were dropped", got.dropped)
	}
	var texts []string
	for _, s := range got.text {
		texts = append(texts, s.String())
	}
	slices.Sort(texts)
	slices.Sort(want)
	if !slices.Equal(texts, want) {
		for k, s := range got.text {
			t.Logf("%s: %d bytes: %.80q", k, s.Len(), s.String())
		}
		for _, l := range got.lines {
			if l.Seq == 1 {
				t.Logf("%s: %+v", l.Container, l.Chain[1:])
			}
		}
		t.Error("what is told is not what was written")
	}
	for _, l := range got.lines {
		if l.Via != identity.LogFile || len(l.Chain) < 3 || l.Chain[1].Name != outerName {
			t.Fatalf("line %+v", l)
		}
	}
	stdout, stderr, code := a.eyas("logs", outerName+"/many", "--stream", "stderr")
	if code != 0 || !strings.Contains(stdout, strconv.Itoa(2*lines)) {
		t.Errorf("eyas logs: %d %s %.300s", code, stderr, stdout)
	}
	podman.remove(outerName)
}
