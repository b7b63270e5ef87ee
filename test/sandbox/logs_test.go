//go:build host

package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/test/cri"
)

// writer is a container inside a sandbox that writes a lot, and what it writes.
type writer struct {
	runtime   string
	name      string // that it is told by
	run       string // a script in the sandbox, with SCRIPT for what the container runs
	script    string
	out, errs string
}

const shortOnes = 3

// writers write n numbered lines to both streams at once, or one after the other to a
// terminal, with a line that is long and a last one that has no end.
func writers(n int) []writer {
	numbers := func(from int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strconv.Itoa(from+i) + "\n")
		}
		return b.String()
	}
	box := "/bin/busybox "
	long := fmt.Sprintf("%040000d\n", 7) // more than one line of a log may be
	script := fmt.Sprintf("%[1]sseq 1 %[2]d & %[1]sseq %[3]d %[4]d >&2; wait; printf %%040000d 7; echo; (printf %%040000d 7; echo; printf end) >&2; printf last", box, n, n+1, 2*n)
	out, errs := numbers(1)+long+"last", numbers(n+1)+long+"end"
	podman := "podman run --network none "
	all := []writer{
		{"podman", "many", podman + "--name many localhost/busybox sh -c 'SCRIPT' >/dev/null 2>&1", script, out, errs},
		{"podman", "json", podman + "--log-driver json-file --name json localhost/busybox sh -c 'SCRIPT' >/dev/null 2>&1", script, out, errs},
		{"podman", "terminal", podman + "--detach --tty --name terminal localhost/busybox sh -c 'SCRIPT' >/dev/null && podman wait terminal",
			fmt.Sprintf("%[1]sseq 1 %[2]d; %[1]sseq %[3]d %[4]d >&2; printf %%040000d 7; echo; printf last", box, n, n+1, 2*n), numbers(1) + numbers(n+1) + long + "last", ""},
		{"runc", "plain", `mkdir -p ~/bundle/rootfs/bin && cd ~/bundle && cp /opt/context/busybox rootfs/bin/
			echo 'SCRIPT' >rootfs/script && rm -f config.json && runc spec --rootless
			sed -i 's/"terminal": true/"terminal": false/; s#"sh"#"/bin/busybox", "sh", "/script"#' config.json
			runc --root /tmp/run/runc run plain 2>&1 </dev/null | tail -c 100`, script, out, errs},
		{"buildah", "busybox-working-container", `mkdir -p ~/buildah && cd ~/buildah && printf 'FROM localhost/busybox\nRUN %s\n' 'SCRIPT' >Dockerfile
			buildah build --network host . >/dev/null 2>&1`, script, out, errs},
		{"buildkit", "", `mkdir -p ~/kit && cd ~/kit && cp /opt/context/busybox .
			printf 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "sh", "-c", "%s"]\n' 'SCRIPT' >Dockerfile
			socket=unix:///tmp/run/buildkit.sock
			rootlesskit --net=host --copy-up=/etc --copy-up=/run buildkitd --addr $socket --root ~/buildkit --containerd-worker=false >/tmp/buildkitd.log 2>&1 </dev/null &
			trap 'tail -n 5 /tmp/buildkitd.log >&2; kill $!; wait' EXIT
			buildctl --addr $socket --timeout 240 --wait build --progress plain --frontend dockerfile.v0 --local context=. --local dockerfile=. 2>&1 | tail -n 3`, script, out, errs},
	}
	for i := range shortOnes { // each lives for some ms
		name := fmt.Sprintf("short-%d", i)
		all = append(all, writer{"podman", name, podman + "--rm --name " + name + " localhost/busybox sh -c 'SCRIPT' >/dev/null 2>&1",
			fmt.Sprintf("echo first %d; printf last; echo error >&2", i), fmt.Sprintf("first %d\nlast", i), "error\n"})
	}
	return all
}

// TestSandboxLogs: what containers of all runtimes in a sandbox write arrives at a real
// OpenTelemetry Collector: complete, in the order of each stream, once and named, from
// the first line to the last. EYAS_LOG_LINES is how many lines each writes to each stream.
func TestSandboxLogs(t *testing.T) {
	if os.Getenv("EYAS_OTELCOL") == "" {
		t.Fatal("EYAS_OTELCOL names no Collector: make test-logs-vm has one")
	}
	lines := 2000
	if s := os.Getenv("EYAS_LOG_LINES"); s != "" {
		var err error
		if lines, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	n := newRuntime(t)
	c := startCollector(t, n)
	n.startAgent(t, "--logs", "nested", "--logs-source", "kernel", "--logs-rate", "1GiB", "--logs-burst", "1GiB", "--logs-ring-bytes", "64MiB",
		"--otlp-endpoint", "http://"+collectorAddr, "--otlp-queue-bytes", "512MiB")
	p := n.start(t, "logs", podOptions{handler: "runc", sandbox: true, userns: &cri.UserNamespace{HostID: 400000, Length: 65536}})
	p.run(t, load)
	for _, w := range writers(lines) {
		if testing.Short() && (strings.HasPrefix(w.runtime, "build") || w.name == "json" || strings.HasPrefix(w.name, "short-") && w.name != "short-0") {
			continue
		}
		began := time.Now()
		if out, err := p.Exec(t.Context(), patience, "bash", "-ec", strings.ReplaceAll(w.run, "SCRIPT", w.script)); err != nil {
			t.Errorf("%s of %s: %v\n%s", w.name, w.runtime, err, out)
			continue
		}
		ran := time.Since(began)
		want := c.bytes + len(w.out) + len(w.errs)
		c.wait(want)
		c.check(w)
		t.Logf("%s of %s: %d bytes written in %v, arrived %v after its end", w.name, w.runtime, len(w.out)+len(w.errs), ran, time.Since(began)-ran)
	}
	p.remove(t)
}

// wait reads until so many bytes have arrived, or nothing comes any more.
func (c *collected) wait(bytes int) {
	c.t.Helper()
	before, since := -1, time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for c.bytes < bytes && time.Since(since) < time.Minute {
		if err := c.read(); err != nil {
			c.t.Fatal(err)
		}
		if c.bytes != before {
			before, since = c.bytes, time.Now()
		}
		<-tick.C
	}
}

// check compares what arrived of a container, and forgets it. Whoever else wrote, such as
// the sandbox's own processes, is none of it.
func (c *collected) check(w writer) {
	c.t.Helper()
	found := map[string]string{}
	for key, s := range c.streams {
		text, stream := s.text.String(), s.about["log.iostream"]
		want := w.out
		if stream == "stderr" {
			want = w.errs
		}
		found[stream] = s.about["eyas.nested.name"]
		if text != want {
			c.t.Errorf("%s of %s: %s %v: %d bytes arrived, want %d: %s", w.name, w.runtime, key, s.about["eyas.container.chain"], len(text), len(want), apart(text, want))
		}
		if s.about["eyas.log.via"] != "kernel" || w.name != "" && s.about["eyas.nested.name"] != w.name || !strings.HasSuffix(s.about["eyas.container.chain"], s.about["eyas.nested.name"]) {
			c.t.Errorf("%s of %s is told as %v", w.name, w.runtime, s.about)
		}
		// A name is looked for when a container is born: the first lines may have another.
		c.t.Logf("%s: chain %s, runtime %s, names %v", key, s.about["eyas.container.chain"], s.about["eyas.nested.runtime"], s.names)
	}
	if _, ok := found["stdout"]; !ok || len(c.streams) > 2 || w.errs != "" && len(c.streams) != 2 {
		c.t.Errorf("%s of %s: streams %v", w.name, w.runtime, found)
	}
	clear(c.streams)
}

func apart(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	return fmt.Sprintf("alike for %d bytes, then %.60q, want %.60q", i, got[i:], want[i:])
}
