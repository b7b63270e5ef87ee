package nri

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/nri/pkg/api"
)

// Hostile text never fails a container, and reaches neither the log raw nor the
// preparer.
func TestHostileAnnotations(t *testing.T) {
	required := Profiles()
	required[0].Required = true
	r := newRig(t, func(o *Options) { o.Profiles = required })
	hostile := []string{"", " ", "TRUE", "true\n", "dev ", "../dev", "\x1b[2J", "dev\x00", strings.Repeat("x", 200<<10), "\u202eved", "0"}
	for i, text := range hostile {
		p := pod("x")
		p.Annotations[Annotation] = text
		p.Name = "\x1b]0;" + strings.Repeat("n", 3000)
		got, err := r.create(p, container("h"+string(rune('a'+i))))
		if err != nil || len(got.GetMounts()) > 0 {
			t.Errorf("%.20q: %v, %v", text, got, err)
		}
	}
	if len(r.calls) > 0 {
		t.Errorf("the preparer heard %q", r.calls)
	}
	if n := r.count("CreateContainer", resultRefused); n != float64(len(hostile)) {
		t.Errorf("%v refused, want %d", n, len(hostile))
	}
	if n := r.unprepared(); n != len(hostile) {
		t.Errorf("%d unprepared, want %d", n, len(hostile))
	}
	for line := range strings.Lines(r.log.String()) {
		if len(line) > 1500 || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\x00\u202e\n") {
			t.Errorf("log line of %d bytes: %.200q", len(line), line)
		}
	}
}

// A refused annotation is told of once for each pod, with what it says and what is
// wanted: again for a new pod, not again by a new connection.
func TestRefusedOnce(t *testing.T) {
	const told = "annotation is refused"
	r := newRig(t, nil)
	bad := func(id string) *api.PodSandbox {
		p := pod("dve\x1b" + strings.Repeat("y", 100))
		p.Id = id
		return p
	}
	start := func(p *api.PodSandbox, id string) {
		t.Helper()
		c := container(id)
		c.PodSandboxId = p.Id
		if _, err := r.create(p, c); err != nil {
			t.Fatal(err)
		}
		if err := r.runtime.StartContainer(context.Background(), &api.StartContainerRequest{Pod: p, Container: c}); err != nil {
			t.Fatal(err)
		}
	}
	count := func(want int) {
		t.Helper()
		if n := strings.Count(r.log.String(), told); n != want {
			t.Errorf("told %d times, want %d:\n%s", n, want, r.log)
		}
	}
	first := bad("first")
	start(first, "a")
	start(first, "b")
	count(1)
	var line struct{ Level, Annotation, Got, Want, Namespace, Pod string }
	for l := range strings.Lines(r.log.String()) {
		if strings.Contains(l, told) {
			if err := json.Unmarshal([]byte(l), &line); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := line
	want.Level, want.Annotation, want.Got, want.Want = "warn", "eyas.dev/sandbox", `"dve\x1b`+strings.Repeat("y", 36)+`"…`, "true, false, dev, build"
	want.Namespace, want.Pod = "team", "web"
	if line != want {
		t.Errorf("%+v, want %+v", line, want)
	}
	if n := r.count("CreateContainer", resultRefused) + r.count("StartContainer", resultRefused); n != 4 {
		t.Errorf("%v counted, want 4", n)
	}
	start(bad("second"), "c")
	count(2)

	// What ran before is told of by Synchronize, however much else it names.
	var pods []*api.PodSandbox
	var cs []*api.Container
	for i := range 2 * maxNamed {
		p := pod("dev")
		p.Id = fmt.Sprint("missed", i)
		c := container(p.Id)
		c.PodSandboxId = p.Id
		pods, cs = append(pods, p), append(cs, c)
	}
	for _, id := range []string{"second", "third"} {
		c := container("of-" + id)
		c.PodSandboxId = id
		pods, cs = append(pods, bad(id)), append(cs, c)
	}
	sync := func() {
		t.Helper()
		if err := r.p.compare(t.Context(), "r", pods, cs); err != nil {
			t.Fatal(err)
		}
	}
	sync()
	sync()
	count(3)
	if len(r.p.refused) != 2 {
		t.Errorf("pods that are gone are remembered: %v", r.p.refused)
	}
	for _, id := range []string{"second", "third"} {
		r.p.podEnded(bad(id))
	}
	if len(r.p.refused) != 0 {
		t.Errorf("pods that ended are remembered: %v", r.p.refused)
	}
}
