//go:build host

package starts

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/test/cri"
)

// checkUntouched: nothing that eyas gives is in the container.
func checkUntouched(t *testing.T, a *agent, c *cri.Container) {
	t.Helper()
	s, _ := ociSpec(t, c)
	for _, path := range []string{"/etc/subuid", "/etc/subgid"} {
		if m := mountAt(s, path); m != nil {
			t.Errorf("%s is mounted: %+v", path, m)
		}
	}
	for _, path := range []string{"/dev/fuse", "/dev/net/tun"} {
		if d := deviceAt(s, path); d != nil {
			t.Errorf("%s is given: %+v", path, d)
		}
	}
	if l, err := a.lease(c); err == nil {
		t.Errorf("it has a lease: %+v", l)
	}
	inside(t, c, "true") // it runs
}

func TestOthersAreUntouched(t *testing.T) {
	n := theNode(t)
	a := n.agent(t, "")
	for _, annotations := range []map[string]string{nil, sandbox("false"), {"eyas.dev/sandboxes": "true"}} {
		_, c := n.run(t, annotations)
		checkUntouched(t, a, c)
	}
	if got := a.metric("eyas_nri_requests_total", "event", "CreateContainer", "result", "ignored"); got != 3 {
		t.Errorf("%v containers were ignored, want 3", got)
	}
	if got := a.metric("eyas_unprepared_containers"); got != 0 {
		t.Errorf("%v containers are unprepared", got)
	}
}

// TestHostileAnnotation: text that is no choice is refused, and fails nothing.
func TestHostileAnnotation(t *testing.T) {
	n := theNode(t)
	a := n.agent(t, "")
	for i, value := range []string{
		"\x1b[2J\r\nroot:0:4294967295", "\u202eved", "", "../dev\x00", strings.Repeat("A", 64<<10),
	} {
		p, c := n.run(t, sandbox(value))
		checkUntouched(t, a, c)
		if got := a.metric("eyas_nri_requests_total", "event", "CreateContainer", "result", "refused"); got != float64(i+1) {
			t.Errorf("%.20q: %v refused, want %d", value, got, i+1)
		}
		if got := a.metric("eyas_unprepared_containers"); got != 1 {
			t.Errorf("%.20q: %v containers are unprepared, want 1", value, got)
		}
		quoted := strconv.QuoteToASCII(value[:min(len(value), 40)])
		inJSON, err := json.Marshal(quoted)
		if err != nil {
			t.Fatal(err)
		}
		a.wantLog(`"level":"warn"`, strings.Trim(string(inJSON), `"`))
		remove(t, p)
		a.until(func() error {
			if got := a.metric("eyas_unprepared_containers"); got != 0 {
				return fmt.Errorf("%v containers are unprepared after they are gone", got)
			}
			return nil
		})
	}
	checkLog(t, a)
}

// TestHostileNames: what else a pod says goes to the ledger and to logs escaped.
func TestHostileNames(t *testing.T) {
	n := theNode(t)
	a := n.agent(t, "")
	p, err := n.client.RunPod(t.Context(), cri.PodOptions{
		Name: "pod\x1b[2J\n", Namespace: "ns\u202e\"", CgroupParent: n.cgroupParent(), HostNetwork: true, Annotations: sandbox("true"),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := sleeper()
	o.Name = "c\r\n\x1b]0;x\x07"
	c, err := p.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	l := a.wantLease(c, ledger.Done)
	if l.Owner.Pod != `pod\x1b[2J\n` || l.Owner.Namespace != `ns\u202e\"` || l.Owner.Container != `c\r\n\x1b]0;x\a` {
		t.Errorf("owner is %+v", l.Owner)
	}
	remove(t, p)
	a.wantLease(c, ledger.Tombstone)
	checkLog(t, a)
}

// checkLog: it is lines of JSON, and no terminal acts on it.
func checkLog(t *testing.T, a *agent) {
	t.Helper()
	for line := range strings.Lines(a.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %.300q", line)
		}
		for _, c := range strings.TrimSuffix(line, "\n") {
			if !strconv.IsPrint(c) {
				t.Errorf("%q in the log: %.300q", c, line)
				break
			}
		}
		if len(line) > 4096 {
			t.Errorf("a line of %d bytes: %.100q…", len(line), line)
		}
	}
}
