//go:build host

package kube

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	issuer  = "https://kubernetes.default.svc"
	account = "system:serviceaccount:eyas-system:eyas"
)

// apply makes the objects of manifests/base/rbac.yaml, the very file.
func (c *cluster) apply() {
	c.Helper()
	text, err := os.ReadFile("../../manifests/base/rbac.yaml")
	if err != nil {
		c.Fatal(err)
	}
	c.ask(http.MethodPost, "/api/v1/namespaces", object{"metadata": object{"name": "eyas-system"}}, nil)
	paths := map[string]string{
		"ServiceAccount":     "/api/v1/namespaces/eyas-system/serviceaccounts",
		"ClusterRole":        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
		"ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
	}
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.Fatal(err)
		}
		kind, _ := o["kind"].(string)
		if paths[kind] == "" {
			c.Fatalf("the manifest has a %q", kind)
		}
		c.ask(http.MethodPost, paths[kind]+"?fieldValidation=Strict", o, nil)
	}
}

type object map[string]any

// token signs a token of eyas' service account, as the API server does, for as long
// as it is to be good: the API server itself makes none for less than 10 minutes.
func (c *cluster) token(ends time.Time) string {
	c.Helper()
	var sa struct {
		Metadata struct{ UID string }
	}
	c.ask(http.MethodGet, "/api/v1/namespaces/eyas-system/serviceaccounts/eyas", nil, &sa)
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			c.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	begins := ends.Add(-time.Hour).Unix()
	text := part(object{"alg": "RS256"}) + "." + part(object{
		"iss": issuer, "aud": []string{issuer}, "sub": account, "iat": begins, "nbf": begins, "exp": ends.Unix(),
		"kubernetes.io": object{"namespace": "eyas-system", "serviceaccount": object{"name": "eyas", "uid": sa.Metadata.UID}},
	})
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, c.key, crypto.SHA256, sum[:])
	if err != nil {
		c.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// kubeconfig is of somebody whose token is in a file, as it is in a pod.
func (c *cluster) kubeconfig(server, tokenFile string) string {
	c.Helper()
	return c.write("kubeconfig", "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: "+server+", certificate-authority-data: "+c.ca+"}}]\n"+
		"users: [{name: u, user: {tokenFile: "+tokenFile+"}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n")
}

// way is the way to the API server: it may be slow, or throttle, and notes what
// goes by.
type way struct {
	mu      sync.Mutex
	delay   time.Duration
	busy    bool // 429, as an API server with too much to do
	asked   map[string]bool
	refused int // tokens
	url     string
}

func (c *cluster) way() *way {
	c.Helper()
	to, err := url.Parse(c.url)
	if err != nil {
		c.Fatal(err)
	}
	w := &way{asked: map[string]bool{}}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		FlushInterval: -1, Transport: c.client.Transport,
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusUnauthorized {
				w.mu.Lock()
				w.refused++
				w.mu.Unlock()
			}
			return nil
		},
	}
	// Over TLS, or client-go keeps the token to itself.
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		delay, busy := w.delay, w.busy
		w.asked[verbOf(r)] = true
		w.mu.Unlock()
		if busy {
			rw.Header().Set("Retry-After", "1")
			http.Error(rw, "too many requests", http.StatusTooManyRequests)
			return
		}
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	c.Cleanup(server.Close)
	w.url = server.URL
	c.ca = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return w
}

func (w *way) set(delay time.Duration, busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay, w.busy = delay, busy
}

// verbOf is what RBAC calls a request of eyas.
func verbOf(r *http.Request) string {
	verb := map[string]string{http.MethodGet: "list", http.MethodPost: "create", http.MethodPatch: "patch"}[r.Method]
	if r.URL.Query().Has("watch") {
		verb = "watch"
	}
	for _, resource := range []string{"pods", "events", "nodes"} {
		if bytes.Contains([]byte(r.URL.Path), []byte("/"+resource)) {
			if resource == "nodes" {
				resource += "/status"
			}
			return verb + " " + resource
		}
	}
	return verb + " " + r.URL.Path
}
