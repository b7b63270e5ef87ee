package command

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestHeld: a host id is found in leases, live and released, and in sub-id files;
// at an earlier time in the leases of that time alone. A lease names a pod.
func TestHeld(t *testing.T) {
	root, state := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"etc/subuid": "dev:1073741824:65536\n", "etc/passwd": "web:x:7:7::/:/bin/sh\n",
	} {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)
	l, err := ledger.Open(ledger.Options{Dir: daemon.LeasesDir(state), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lend := func(id string) {
		now = now.Add(time.Hour)
		if _, err := l.Create(ledger.Lease{ID: id, Range: ledger.Range{Start: 1073741824, Count: 65536}, Boot: "b", Owner: ledger.Owner{Runtime: "podman", ContainerID: "cafe", Namespace: "web", Pod: "db-0", PodUID: "2ff1"}}); err != nil {
			t.Fatal(err)
		}
	}
	lend("first")
	for _, s := range []ledger.State{ledger.Releasing, ledger.Tombstone} {
		now = now.Add(time.Hour)
		if _, err := l.Advance("first", s, nil); err != nil {
			t.Fatal(err)
		}
	}
	released := now
	lend("second")

	var errs []string
	var pods []identity.IDPod
	ask := func(id uint32, at *time.Time) (sources []string) {
		k := &client{env: Env{Root: root, Stderr: io.Discard}, socket: filepath.Join(state, "none"), state: state}
		c := &cobra.Command{}
		c.SetContext(t.Context())
		a := idAnswer{IDAnswer: identity.IDAnswer{At: at, Pods: []identity.IDPod{{PodUID: "2ff1"}, {PodUID: "3"}}}}
		errs = append(errs, k.held(c, id, &a)...)
		pods = a.Pods
		for _, h := range a.Held {
			sources = append(sources, h.Source+" "+h.State)
		}
		return sources
	}
	same(t, "now", []string{
		"lease first podman:web/db-0/cafe tombstone", "lease second podman:web/db-0/cafe intent", `"dev" (/etc/subuid line 1) `,
	}, ask(1073741824+7, nil))
	same(t, "named", []identity.IDPod{{PodUID: "2ff1", Namespace: "web", Pod: "db-0"}, {PodUID: "3"}}, pods)
	early := released.Add(-time.Minute)
	same(t, "then", []string{"lease first podman:web/db-0/cafe tombstone"}, ask(1073741824, &early))
	same(t, "a user", []string{`user "web" (/etc/passwd line 1) `}, ask(7, nil))
	same(t, "nobody", []string(nil), ask(1<<31, nil))
	same(t, "what could not be read", []string(nil), errs)
}

// What kubelet's record said reads as a line, and says when the pod went as far
// as is known.
func TestPodText(t *testing.T) {
	second := func(s int) time.Time { return time.Date(2026, 1, 31, 3, 0, s, 0, time.UTC) }
	p := identity.IDPod{PodUID: "2ff1", State: "live", Range: "65536:65536", Inner: 7, From: second(0), LastSeen: second(9)}
	const line = "pod 2ff1: kubelet's record 65536:65536, uid 7 inside, from 2026-01-31T03:00:00Z"
	same(t, "live", line, podText(p, "uid"))
	p.State, p.GoneBy = "gone", second(9)
	same(t, "gone", line+", gone since 2026-01-31T03:00:09Z", podText(p, "uid"))
	p.Namespace, p.Pod, p.GoneBy = "web", "db-0", second(11)
	same(t, "gone some time", strings.Replace(line, "2ff1", "2ff1 (web/db-0)", 1)+", gone between 2026-01-31T03:00:09Z and 2026-01-31T03:00:11Z", podText(p, "uid"))
}
