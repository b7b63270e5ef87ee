//go:build host

package kube

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// site is a cluster with two nodes that execute, agents on them, and pods.
type site struct {
	*cluster
	plugin, config string
	kubelets       map[string]*fakelet
}

const webID = "2f1c0de5a3b94d4f8a0e6b1c9d7f3e5a2f1c0de5a3b94d4f8a0e6b1c9d7f3e5a"

func newSite(t *testing.T) *site {
	s := &site{cluster: newCluster(t), kubelets: map[string]*fakelet{}}
	s.plugin = s.path("kubectl-eyas")
	build := exec.Command("go", "build", "-o", s.plugin, "github.com/eyas-agent/eyas/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Link(s.plugin, s.path("eyas")); err != nil {
		t.Fatal(err)
	}
	s.config = s.kubectlConfig(s.url)
	for _, ns := range []string{"eyas-system", "team"} {
		s.ask(http.MethodPost, "/api/v1/namespaces", object{"metadata": object{"name": ns}}, nil)
		s.ask(http.MethodPost, "/api/v1/namespaces/"+ns+"/serviceaccounts", object{"metadata": object{"name": "default"}, "automountServiceAccountToken": false}, nil)
	}
	for _, n := range []string{"node-1", "node-2", "node-3"} {
		s.ask(http.MethodPost, "/api/v1/nodes", object{"metadata": object{"name": n}}, nil)
	}
	for _, n := range []string{"node-1", "node-2"} {
		s.kubelets[n] = s.fakelet(s.path("eyas"))
		s.ask(http.MethodPatch, "/api/v1/nodes/"+n+"/status", object{"status": object{
			"addresses":       []object{{"type": "InternalIP", "address": "127.0.0.1"}},
			"daemonEndpoints": object{"kubeletEndpoint": object{"Port": s.kubelets[n].port}},
		}}, nil)
		s.make("eyas-system", "eyas-"+n, n, "eyas", running("eyas", "a"))
	}
	return s
}

func (s *site) kubectlConfig(server string) string {
	return s.write("kubectl.config", "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: "+server+", insecure-skip-tls-verify: true}}]\n"+
		"users: [{name: u, user: {token: "+adminToken+"}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n")
}

// make makes a pod; status is of its first container, nil: none yet.
func (s *site) make(namespace, name, where, label string, status object, more ...string) {
	s.Helper()
	containers := []object{}
	for _, c := range append([]string{label}, more...) {
		containers = append(containers, object{"name": c, "image": "none"})
	}
	s.ask(http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", object{
		"metadata": object{"name": name, "labels": object{"app.kubernetes.io/name": label}},
		"spec":     object{"nodeName": where, "containers": containers},
	}, nil)
	if status != nil {
		s.ask(http.MethodPatch, "/api/v1/namespaces/"+namespace+"/pods/"+name+"/status", object{"status": object{
			"phase": "Running", "containerStatuses": []object{status},
		}}, nil)
	}
}

func running(name, id string) object {
	return object{"name": name, "image": "none", "imageID": "", "ready": true, "restartCount": 0, "containerID": "containerd://" + id, "state": object{"running": object{}}}
}

func waiting(name, reason, message string) object {
	return object{"name": name, "image": "none", "imageID": "", "ready": false, "restartCount": 0, "state": object{"waiting": object{"reason": reason, "message": message}}}
}

func (s *site) command(args ...string) *exec.Cmd {
	c := exec.Command(s.plugin, append([]string{"--kubeconfig", s.config}, args...)...)
	c.Env = []string{"HOME=" + s.dir, "PATH=/usr/bin:/bin"}
	return c
}

func (s *site) eyas(args ...string) (code int, stdout, stderr string) {
	s.Helper()
	var out, errs bytes.Buffer
	c := s.command(args...)
	c.Stdout, c.Stderr = &out, &errs
	c.Stdin = strings.NewReader("newuidmap: write to uid_map failed: Operation not permitted\n")
	if err := c.Run(); c.ProcessState == nil {
		s.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestPlugin: `kubectl eyas` finds the pod, its node and its agent, and what is said
// there, and the exit status, come back.
func TestPlugin(t *testing.T) {
	s := newSite(t)
	s.make("team", "web", "node-1", "app", running("app", webID))
	s.make("team", "many", "node-2", "app", running("app", webID), "sidecar")
	s.make("team", "starting", "node-1", "app", waiting("app", "ImagePullBackOff", "no\x1b[2J"))
	s.make("team", "pending", "", "app", nil)
	s.make("team", "bare", "node-3", "app", running("app", webID))
	const no = " --socket=/none --state-dir=/none" // no agent: a snapshot is taken
	for name, c := range map[string]struct {
		args    string
		code    int
		out     string // a part
		errs    string
		node    string // that was asked
		command string // what was executed there; empty: nothing
	}{
		"chain":            {"ps team/web" + no, 3, "", "no such container", "node-1", "eyas-system/eyas-node-1/eyas /eyas ps --socket=/none --state-dir=/none -- " + webID},
		"nested":           {"oom team/web/app/db --since 2h" + no, 3, "", "no such container", "node-1", "eyas-system/eyas-node-1/eyas /eyas oom --since=2h --socket=/none --state-dir=/none -- " + webID + "/db"},
		"namespace apart":  {"du -n team web" + no, 3, "", "no such container", "node-1", "eyas-system/eyas-node-1/eyas /eyas du --socket=/none --state-dir=/none -- " + webID},
		"in":               {"whois --in team/web pid 7" + no, 3, "", "no such container", "node-1", "eyas-system/eyas-node-1/eyas /eyas whois --in=" + webID + " --socket=/none --state-dir=/none -- pid 7"},
		"answer":           {"whois pid 1 --node node-2" + no, 0, "pid 1: ", "", "node-2", "eyas-system/eyas-node-2/eyas /eyas whois --socket=/none --state-dir=/none -- pid 1"},
		"tree of a pod":    {"tree team/bare2 --node node-1" + no, 3, "", `pod team/bare2: not found`, "", ""},
		"tree":             {"tree team/web -o json" + no, 0, "[", "", "node-1", "eyas-system/eyas-node-1/eyas /eyas tree --output=json --socket=/none --state-dir=/none"},
		"explain text":     {"explain --no-checks --node node-1 newuidmap:_write_to_uid_map_failed:_Operation_not_permitted", 0, "newuidmap", "", "node-1", ""},
		"explain stdin":    {"explain - --no-checks --node node-1", 0, "newuidmap", "", "node-1", "eyas-system/eyas-node-1/eyas /eyas explain --no-checks=true -- -"},
		"enter":            {"enter team/web -u 7" + no + " -- ls -l", 3, "", "no such container", "node-1", "eyas-system/eyas-node-1/eyas /eyas enter --socket=/none --state-dir=/none --user=7 " + webID + " -- ls -l"},
		"usage there":      {"top team/web --interval 1ms", 2, "", "--interval: want 100ms to 1h", "node-1", "eyas-system/eyas-node-1/eyas /eyas top --interval=1ms -- " + webID},
		"several":          {"ps team/many", 1, "", "has several containers: say which: team/many/CONTAINER, one of app, sidecar", "", ""},
		"one of several":   {"ps team/many/app" + no, 3, "", "no such container", "node-2", "eyas-system/eyas-node-2/eyas /eyas ps --socket=/none --state-dir=/none -- " + webID},
		"no container":     {"ps team/web/db", 3, "", `container "db" of pod team/web: not found: it has app`, "", ""},
		"no pod":           {"ps team/nobody", 3, "", "pod team/nobody: not found", "", ""},
		"no namespace":     {"ps web", 3, "", "name its namespace", "", ""},
		"pending":          {"ps team/pending", 1, "", "pod team/pending is on no node yet (Pending)", "", ""},
		"starting":         {"ps team/starting", 1, "", `has not started (ImagePullBackOff: no\x1b[2J)`, "", ""},
		"its node answers": {"tree team/starting -o json" + no, 0, "[", "", "node-1", ""},
		"no agent":         {"ps team/bare", 1, "", `no eyas agent on node "node-3" in namespace eyas-system`, "", ""},
		"agents elsewhere": {"ps team/web --agent-namespace team", 1, "", "in namespace team", "", ""},
		"no node":          {"ps", 2, "", "which node? Name a pod, NAMESPACE/POD/…, or --node NODE", "", ""},
		"run":              {"enter team/web --run", 2, "", "the agent's image has no nsenter", "", ""},
		"all nodes":        {"whois uid 4294967000" + no, 3, "", "none of 2 nodes knows it", "both", ""},
		"bad target":       {"ps team//web", 1, "", "want NAMESPACE/POD", "", ""},
		"unknown command":  {"agent", 2, "", "see kubectl eyas --help", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			args := strings.Fields(c.args)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "_", " ")
			}
			code, out, errs := s.eyas(args...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || strings.Contains(errs, "\x1b") {
				t.Errorf("%d %q %s", code, out, errs)
			}
			for n, k := range s.kubelets {
				told := k.told()
				asked := c.node == n || c.node == "both"
				if asked != (len(told) == 1) || n == c.node && c.command != "" && told[0] != c.command {
					t.Errorf("%s executed %q, want %q", n, told, c.command)
				}
			}
		})
	}
}
