package command

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/list"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// A pod is told with what is known of it, and how old that is.
func TestPodName(t *testing.T) {
	p := &identity.Pod{Namespace: "team", Name: "web-0"}
	full := &identity.Pod{
		Namespace: "team", Name: "web\x1b[2J", Container: "app", Owner: &identity.PodOwner{Kind: "ReplicaSet", Name: "web"},
		Stale: true, AsOf: time.Unix(0, 0),
	}
	for want, p := range map[string]*identity.Pod{
		"pod         team/web-0\n": p,
		`pod         team/web\x1b[2J, container app, of ReplicaSet web, as last known at 1970-01-01T00:00:00Z: the API server does not answer` + "\n": full,
	} {
		var b bytes.Buffer
		printIdentity(&b, identity.Identity{Chain: []identity.Link{{Kind: "node"}, {Kind: "container", Pod: p}}}, false)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s has no %q", b.String(), want)
		}
	}
	l := list.NewWriter()
	growTree(l, []treeNode{{Link: identity.Link{ID: "a", Pod: full}}}, false)
	if got := l.Render(); !strings.Contains(got, `a  team/web\x1b[2J/app  0 processes, its pod as last known`) {
		t.Error(got)
	}
}
