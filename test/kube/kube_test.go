//go:build host

package kube

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/eyas-agent/eyas/agent/kube"
)

// node is the node of the agent.
const node = "node-1"

// uses is all that eyas asks of the API server.
var uses = []string{"create events", "list pods", "patch events", "patch nodes/status", "watch pods"}

// What manifests/base/rbac.yaml allows is what eyas uses, and nothing else: by the
// very question that `kubectl auth can-i --as` asks.
func TestRBAC(t *testing.T) {
	c := newCluster(t)
	c.apply()
	may := func(verb, resource, in string) bool {
		name, sub, _ := strings.Cut(resource, "/")
		var review struct{ Status struct{ Allowed bool } }
		c.ask(http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", object{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
			"spec": object{"resourceAttributes": object{"verb": verb, "resource": name, "subresource": sub, "namespace": in}},
		}, &review, account)
		return review.Status.Allowed
	}
	var allowed []string
	for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate", "proxy"} {
		for _, resource := range []string{
			"pods", "pods/status", "pods/exec", "pods/log", "pods/ephemeralcontainers", "events", "nodes", "nodes/status", "nodes/proxy",
			"secrets", "configmaps", "serviceaccounts", "serviceaccounts/token", "namespaces", "users",
		} {
			if may(verb, resource, "") {
				allowed = append(allowed, verb+" "+resource)
			}
			if may(verb, resource, "kube-system") != may(verb, resource, "") {
				t.Errorf("%s %s differs between namespaces", verb, resource)
			}
		}
	}
	slices.Sort(allowed)
	if d := cmp.Diff(uses, allowed); d != "" {
		t.Error("allowed", d)
	}
}

// fill makes pods: some of the agent's node, the others of 99 more.
func (c *cluster) fill(all, own int) {
	c.Helper()
	c.ask(http.MethodPost, "/api/v1/namespaces", object{"metadata": object{"name": "team"}}, nil)
	c.ask(http.MethodPost, "/api/v1/namespaces/team/serviceaccounts", object{"metadata": object{"name": "default"}, "automountServiceAccountToken": false}, nil)
	c.ask(http.MethodPost, "/api/v1/nodes", object{"metadata": object{"name": node}}, nil)
	var g errgroup.Group
	g.SetLimit(16)
	for i := range all {
		g.Go(func() error {
			where := node
			if i >= own {
				where = fmt.Sprint("node-", 2+i%99)
			}
			return c.pod(fmt.Sprint("pod-", i), where)
		})
	}
	if err := g.Wait(); err != nil {
		c.Fatal(err)
	}
}

// pod makes a pod with a container that runs.
func (c *cluster) pod(name, where string) error {
	code, text := c.try(http.MethodPost, "/api/v1/namespaces/team/pods", object{
		"metadata": object{"name": name, "labels": object{"app": name}},
		"spec":     object{"nodeName": where, "containers": []object{{"name": "app", "image": "none"}}},
	}, nil)
	if code == http.StatusCreated && where == node {
		code, text = c.try(http.MethodPatch, "/api/v1/namespaces/team/pods/"+name+"/status", object{"status": object{
			"phase": "Running", "containerStatuses": []object{{"name": "app", "image": "none", "imageID": "", "ready": true, "restartCount": 0, "containerID": "containerd://id-" + name}},
		}}, nil)
	}
	if code/100 != 2 {
		return fmt.Errorf("make pod %s: status %d: %s", name, code, text)
	}
	return nil
}

// uids of the pods there are, by name.
func (c *cluster) uids() map[string]string {
	c.Helper()
	var list struct {
		Items []struct{ Metadata struct{ Name, UID string } }
	}
	c.ask(http.MethodGet, "/api/v1/namespaces/team/pods", nil, &list)
	all := map[string]string{}
	for _, p := range list.Items {
		all[p.Metadata.Name] = p.Metadata.UID
	}
	return all
}

// agent is agent/kube until the test ends.
func (c *cluster) agent(server, tokenFile, dir string) (k *kube.Kube, stop func()) {
	c.Helper()
	k, err := kube.New(kube.Options{
		Kubeconfig: c.kubeconfig(server, tokenFile), Node: node, Dir: dir, Version: "test", Backoff: time.Second, Log: zerolog.New(zerolog.NewTestWriter(c)),
	})
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	over := false
	stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := <-done; err != nil {
			c.Error(err)
		}
	}
	c.Cleanup(stop)
	return k, stop
}

// Among 5000 pods only those of its node are seen; Events and the condition appear;
// and nothing is asked that the role does not allow, nor is anything in it unused.
func TestNode(t *testing.T) {
	c := newCluster(t)
	c.apply()
	const all, own = 5000, 60
	c.fill(all, own)
	w := c.way()
	k, _ := c.agent(w.url, c.write("token", c.token(time.Now().Add(time.Hour))), t.TempDir())
	uids := c.uids()
	if len(uids) != all {
		t.Fatalf("%d pods, want %d", len(uids), all)
	}
	known := func() (n int) {
		for name, uid := range uids {
			p, ok := k.Pod(uid, "id-"+name)
			if !ok {
				continue
			}
			n++
			if p.Name != name || p.Namespace != "team" || p.Container != "app" || p.Labels["app"] != name || p.Stale {
				t.Errorf("pod %s: %+v", name, p)
			}
		}
		return n
	}
	c.until("its pods are known", func() bool { _, ok := k.Pod(uids["pod-0"], ""); return ok })
	if n := known(); n != own {
		t.Errorf("%d pods are known, want %d", n, own)
	}
	if err := c.pod("late", node); err != nil {
		t.Fatal(err)
	}
	late := c.uids()["late"]
	c.until("a new one is", func() bool { p, ok := k.Pod(late, "id-late"); return ok && p.Container == "app" })
	c.ask(http.MethodDelete, "/api/v1/namespaces/team/pods/late", object{"gracePeriodSeconds": 0}, nil)
	c.until("and is not, when it is gone", func() bool { _, ok := k.Pod(late, ""); return !ok })

	o := kube.Outcome{Namespace: "team", Pod: "pod-0", UID: uids["pod-0"], Container: "app", Reason: kube.PoolDry, Message: "no ids"}
	for range 3 {
		k.Tell(o)
	}
	c.until("one Event counts three", func() bool { return c.events()["pod-0 "+kube.PoolDry] == 3 })
	no := false
	k.SetVerdict(kube.Verdict{Fit: &no, Reason: "ChecksFail", Message: "fail: x"})
	c.until("the condition appears", func() bool { return c.condition() == "False ChecksFail fail: x" })

	w.mu.Lock()
	defer w.mu.Unlock()
	for verb := range w.asked {
		if !slices.Contains(uses, verb) {
			t.Errorf("%s was asked", verb)
		}
	}
	for _, verb := range uses {
		if !w.asked[verb] {
			t.Errorf("%s was not", verb)
		}
	}
}

// events are counts by pod and reason.
func (c *cluster) events() map[string]int {
	c.Helper()
	var list struct {
		Items []struct {
			Reason         string
			Count          int
			InvolvedObject struct{ Name string }
		}
	}
	c.ask(http.MethodGet, "/api/v1/namespaces/team/events", nil, &list)
	all := map[string]int{}
	for _, e := range list.Items {
		all[e.InvolvedObject.Name+" "+e.Reason] += e.Count
	}
	return all
}

func (c *cluster) condition() string {
	c.Helper()
	var n struct {
		Status struct {
			Conditions []struct{ Type, Status, Reason, Message string }
		}
	}
	c.ask(http.MethodGet, "/api/v1/nodes/"+node, nil, &n)
	for _, x := range n.Status.Conditions {
		if x.Type == string(kube.ConditionType) {
			return x.Status + " " + x.Reason + " " + x.Message
		}
	}
	return ""
}
