//go:build host

package kube

import (
	"os"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/agent/kube"
)

// An API server that is killed, slow, that throttles, or takes the token no more:
// pods stay known, marked stale, Events wait, and all is made up for afterwards.
func TestOutages(t *testing.T) {
	c := newCluster(t)
	c.apply()
	c.fill(3, 2)
	w, dir := c.way(), t.TempDir()
	token := c.write("token", c.token(time.Now().Add(time.Hour)))
	k, stop := c.agent(w.url, token, dir)
	uids := c.uids()
	is := func(stale bool) func() bool {
		return func() bool {
			p, ok := k.Pod(uids["pod-0"], "id-pod-0")
			return ok && p.Name == "pod-0" && p.Container == "app" && p.Stale == stale
		}
	}
	yes := true
	tell := func(reason string) {
		k.Tell(kube.Outcome{Namespace: "team", Pod: "pod-0", UID: uids["pod-0"], Reason: reason, Message: "it happened"})
		k.SetVerdict(kube.Verdict{Fit: &yes, Reason: reason, Message: "m"})
	}
	told := func(reason string) {
		t.Helper()
		c.until("the Event is there: "+reason, func() bool { return c.events()["pod-0 "+reason] > 0 })
		c.until("the condition is: "+reason, func() bool { return c.condition() == "True "+reason+" m" })
	}
	c.until("it is known", is(false))

	c.kill()
	c.until("it is stale while the API server is dead", is(true))
	tell("Killed")
	stop()
	k, stop = c.agent(w.url, token, dir) // an agent that never heard it
	if !is(true)() {
		t.Error("after a restart without the API server the pod is not known as stale")
	}
	tell("Killed")
	c.start()
	c.until("it is fresh again", is(false))
	told("Killed")

	w.set(3*time.Second, false)
	if err := c.pod("slow", node); err != nil {
		t.Fatal(err)
	}
	uid := c.uids()["slow"]
	tell("Slow")
	c.until("a new pod is known, slow or not", func() bool { _, ok := k.Pod(uid, ""); return ok })
	told("Slow")

	w.set(0, true)
	tell("Throttled")
	c.kill() // ends the watch
	c.start()
	c.until("it is stale while the API server throttles", is(true))
	w.set(0, false)
	c.until("it is fresh again", is(false))
	told("Throttled")
	stop()

	// As a pod whose token was not made anew in time.
	c.write("token", c.token(time.Now().Add(-time.Minute)))
	k, _ = c.agent(w.url, token, dir)
	tell("Expired")
	c.until("requests with the token are refused", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.refused > 3
	})
	if !is(true)() {
		t.Error("with an expired token the pod is not known as stale")
	}
	// Replaced as kubelet does.
	next := c.write("token.next", c.token(time.Now().Add(time.Hour)))
	if err := os.Rename(next, token); err != nil {
		t.Fatal(err)
	}
	c.until("it is fresh with a new token", is(false))
	told("Expired")
}
