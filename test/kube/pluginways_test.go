//go:build host

package kube

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/eyas-agent/eyas/agent/kube"
)

// oncall applies the component, and binds it to a user of that name.
func (s *site) oncall() {
	s.Helper()
	text, err := os.ReadFile("../../manifests/components/oncall/rbac.yaml")
	if err != nil {
		s.Fatal(err)
	}
	const rbac = "/apis/rbac.authorization.k8s.io/v1/"
	paths := map[string]string{"ClusterRole": rbac + "clusterroles", "Role": rbac + "namespaces/eyas-system/roles"}
	for _, part := range bytes.Split(text, []byte("\n---\n")) {
		o := object{}
		if err := yaml.Unmarshal(part, &o); err != nil {
			s.Fatal(err)
		}
		kind, _ := o["kind"].(string)
		s.ask(http.MethodPost, paths[kind]+"?fieldValidation=Strict", o, nil)
		s.ask(http.MethodPost, strings.TrimSuffix(paths[kind], "s")+"bindings", object{
			"metadata": object{"name": "eyas-oncall"}, "roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "eyas-oncall"},
			"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "oncall"}},
		}, nil)
	}
}

// script puts a program in the place of eyas on a node.
func (s *site) script(node, text string) {
	s.Helper()
	path := s.write(node+".sh", "#!/bin/sh\n"+text)
	if err := os.Chmod(path, 0o755); err != nil {
		s.Fatal(err)
	}
	s.kubelets[node].eyas = path
}

// TestPluginWays: with the rights of the component alone; by WebSocket and by SPDY;
// on all nodes; completion; and what `eyas advise` asks.
func TestPluginWays(t *testing.T) {
	s := newSite(t)
	s.make("team", "web", "node-1", "app", running("app", webID))
	s.script("node-1", `echo "$*"; echo warned >&2; [ "$1" = whois ] && exit 0; exit 42`)
	s.script("node-2", `echo gone >&2; exit 3`)

	if code, _, errs := s.eyas("ps", "team/web", "--as", "oncall"); code != 1 || !strings.Contains(errs, "it takes get on pods: see manifests/components/oncall") {
		t.Errorf("without rights: %d %s", code, errs)
	}
	s.oncall()
	if code, out, errs := s.eyas("ps", "team/web", "--as", "oncall"); code != 42 || out != "ps -- "+webID+"\n" || errs != "warned\n" {
		t.Errorf("with the rights of the component: %d %q %q", code, out, errs)
	}
	if code, out, _ := s.eyas("__complete", "ps", "--as", "oncall", ""); code != 0 || !strings.Contains(out, "team/web\tnode-1\n") {
		t.Errorf("completion: %d %q", code, out)
	}
	// As kubectl asks: by a program of that name.
	completer := s.path("kubectl_complete-eyas")
	if err := os.Link(s.plugin, completer); err != nil {
		t.Fatal(err)
	}
	asked := exec.Command(completer, "ps", "--kubeconfig", s.config, "team/")
	if out, err := asked.Output(); err != nil || !strings.Contains(string(out), "team/web\tnode-1\n") {
		t.Errorf("completion for kubectl: %v %q", err, out)
	}

	// A proxy that knows no WebSockets.
	to, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: s.client.Transport}
	old := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			refused++
			http.Error(w, "no WebSockets here", http.StatusBadRequest)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(old.Close)
	if code, out, errs := s.eyas("ps", "team/web", "--server", old.URL); code != 42 || out != "ps -- "+webID+"\n" || errs != "warned\n" || refused != 1 {
		t.Errorf("by SPDY: %d %q %q, %d refused", code, out, errs, refused)
	}

	// What knows nothing of an id, and what has never heard of it, is left out.
	s.script("node-1", `echo '{"kind": "uid", "id": 7, "owners": [], "pods": [{"namespace": "team", "pod": "w\u001beb", "range": "0:9", "inner": 7}]}'`)
	s.script("node-2", `echo '{"kind": "uid", "id": 7, "owners": [], "note": "the node itself"}'`)
	code, out, errs := s.eyas("whois", "uid", "7", "--as", "oncall", "-o", "wide")
	if code != 0 || !strings.HasPrefix(out, "node node-1\nhost uid 7\n") || !strings.Contains(out, `team/w\x1beb`) || strings.Contains(out, "node-2") || errs != "" {
		t.Errorf("all nodes: %d %q %q", code, out, errs)
	}
	if told := s.kubelets["node-2"].told(); len(told) != 1 || told[0] != "eyas-system/eyas-node-2/eyas /eyas whois --output=json -- uid 7" {
		t.Errorf("%q", told)
	}
	code, out, _ = s.eyas("whois", "uid", "7", "-o", "json")
	var found []struct {
		Node   string
		Answer struct{ Pods []struct{ Pod string } }
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != 0 || len(found) != 1 || found[0].Node != "node-1" || found[0].Answer.Pods[0].Pod != "w\x1beb" {
		t.Errorf("all nodes, JSON: %d %v %q", code, err, out)
	}
	s.script("node-2", `echo broken >&2; exit 1`)
	s.make("eyas-system", "eyas-node-3", "node-3", "eyas", waiting("eyas", "CrashLoopBackOff", ""))
	code, out, errs = s.eyas("whois", "uid", "7")
	if code != 1 || !strings.Contains(out, "node node-1\n") || !strings.Contains(errs, "node node-2: broken") ||
		!strings.Contains(errs, "node node-3: its agent does not run (CrashLoopBackOff)") || !strings.Contains(errs, "2 nodes could not be asked") {
		t.Errorf("a node that does not answer is told, and fails: %d %q %q", code, out, errs)
	}
	if code, _, errs := s.eyas("tree", "--node", "node-3"); code != 1 || !strings.Contains(errs, `the eyas agent on node "node-3" does not run (CrashLoopBackOff)`) {
		t.Errorf("%d %s", code, errs)
	}

	s.ask(http.MethodPost, "/apis/node.k8s.io/v1/runtimeclasses", object{"metadata": object{"name": "strong"}, "handler": "kata"}, nil)
	version, handlers, err := kube.LookAtCluster(t.Context(), s.config)
	if err != nil || !strings.HasPrefix(version, "v") || handlers["strong"] != "kata" {
		t.Errorf("%q %v %v", version, handlers, err)
	}
}
