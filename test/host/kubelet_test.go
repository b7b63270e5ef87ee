//go:build host

package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// kubelet is its root directory, as a test plays it.
type kubelet struct {
	t   *testing.T
	dir string
}

// gives writes a pod's record as kubelet does: whole, or not at all.
func (k kubelet) gives(pod string, block int) {
	k.t.Helper()
	m := fmt.Sprintf(`[{"hostId":%d,"containerId":0,"length":65536}]`, block)
	dir := filepath.Join(k.dir, "pods", pod)
	tmp := filepath.Join(k.dir, "tmp")
	for _, err := range []error{
		os.MkdirAll(dir, 0o700), os.WriteFile(tmp, []byte(`{"uidMappings":`+m+`,"gidMappings":`+m+`}`), 0o600),
		os.Rename(tmp, filepath.Join(dir, "userns")),
	} {
		if err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k kubelet) takes(pod string) {
	k.t.Helper()
	if err := os.RemoveAll(filepath.Join(k.dir, "pods", pod)); err != nil {
		k.t.Fatal(err)
	}
}

// podsOf asks for the pods of a host uid: "pod state", in the answer's order.
func podsOf(t *testing.T, a *agent, uid int, more ...string) (all []string, answer identity.IDAnswer) {
	t.Helper()
	answer = ask[identity.IDAnswer](t, a, append([]string{"whois", "uid", fmt.Sprint(uid)}, more...)...)
	for _, p := range answer.Pods {
		all = append(all, p.PodUID+" "+p.State)
	}
	return all, answer
}

// TestKubeletPods: whose a uid was is answered from kubelet's records after
// kubelet has removed them, the agent was killed, and another pod has the range.
func TestKubeletPods(t *testing.T) {
	const block = 2000683008 // 30528 × 65536: nobody's here
	const gone, away, next = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002", "0a1b2c3d-0000-4000-8000-000000000003"
	k := kubelet{t, t.TempDir()}
	dir := t.TempDir()
	a := startAgent(t, dir, "--kubelet-root", k.dir)
	want := func(what string, a *agent, uid int, want string, more ...string) {
		t.Helper()
		if got, _ := podsOf(t, a, uid, more...); strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	want("before", a, block+7, "")

	// Nobody asks while it is there: the agent has noticed by itself.
	before := time.Now()
	k.gives(gone, block)
	k.gives(away, block+65536)
	eventually(t, a, "the agent notices", func() error {
		return mentions(a.State, gone, away)
	})
	k.takes(gone)
	want("gone", a, block+7, gone+" gone")
	want("there", a, block+65536, away+" live")
	_, answer := podsOf(t, a, block+7)
	p := answer.Pods[0]
	if p.Inner != 7 || p.Range != fmt.Sprintf("%d:65536", block) || p.From.Before(before.Add(-time.Second)) || p.LastSeen.Before(p.From) || p.GoneBy.Before(p.LastSeen) || p.GoneBy.After(time.Now()) {
		t.Errorf("asked after %s: %+v", before, p)
	}
	waitFlushed(t, a)
	a.Kill()

	k.takes(away)
	k.gives(next, block)
	a = startAgent(t, dir, "--kubelet-root", k.dir)
	want("taken by another", a, block+7, next+" live, "+gone+" gone")
	want("then", a, block+7, gone+" gone", "--at", p.GoneBy.Format(time.RFC3339Nano))
	want("too early", a, block+7, "", "--at", before.Add(-time.Hour).Format(time.RFC3339))
	want("gone while the agent was away", a, block+65536, away+" gone")
	out, stderr, code := a.eyas("whois", "gid", fmt.Sprint(block+7))
	if line := fmt.Sprintf("pod %s: kubelet's record %d:65536, gid 7 inside, from ", gone, block); code != 0 || !strings.Contains(out, line) || !strings.Contains(out, ", gone ") {
		t.Errorf("%d: %s%s", code, out, stderr)
	}
	a.Stop()

	// Without an agent the history is read.
	out, stderr, code = a.eyas("whois", "uid", fmt.Sprint(block+7))
	if code != 0 || !strings.Contains(out, "pod "+gone) {
		t.Errorf("without an agent: %d: %s%s", code, out, stderr)
	}
}

func eventually(t *testing.T, a *agent, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, a.done, ask); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// mentions reports whether the history's file has all texts.
func mentions(state string, texts ...string) error {
	b, err := os.ReadFile(filepath.Join(state, "history.db"))
	if err != nil {
		return err
	}
	for _, s := range texts {
		if !strings.Contains(string(b), s) {
			return fmt.Errorf("no %s on disk", s)
		}
	}
	return nil
}
