//go:build host

package kube

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds waits for what must happen.
const patience = 2 * time.Minute

// adminToken is of one who may do everything.
const adminToken = "admin-of-the-test"

var built = sync.OnceValues(func() (string, error) {
	c := exec.Command("../peers/build", "kube")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("build kube: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

// cluster is an API server with its etcd; nobody runs pods.
type cluster struct {
	testing.TB
	dir, etcd, url string
	ca             string          // base64 of the certificate of the way to it
	key            *rsa.PrivateKey // that signs tokens of service accounts
	server         *exec.Cmd
	client         *http.Client
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{TB: t, dir: t.TempDir(), client: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 16}, // it makes its own certificate
	}}
	c.etcd = "http://" + freeAddress(t)
	peer := "http://" + freeAddress(t)
	c.run("etcd", "etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", c.etcd, "--advertise-client-urls", c.etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync")
	var err error
	if c.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(c.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	c.write("sa.key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(c.key)})))
	c.write("sa.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	c.write("tokens.csv", adminToken+",admin,admin,system:masters\n")
	c.url = "https://" + freeAddress(t)
	c.start()
	return c
}

// start starts the API server and waits until it is ready.
func (c *cluster) start() {
	c.Helper()
	dir, err := built()
	if err != nil {
		c.Fatal(err)
	}
	port := c.url[strings.LastIndex(c.url, ":")+1:]
	c.server = c.run("apiserver", filepath.Join(dir, "kube-apiserver"), "--etcd-servers="+c.etcd, "--cert-dir="+filepath.Join(c.dir, "certs"),
		"--bind-address=127.0.0.1", "--secure-port="+port, "--endpoint-reconciler-type=none", "--service-account-issuer="+issuer,
		"--service-account-key-file="+c.path("sa.pub"), "--service-account-signing-key-file="+c.path("sa.key"),
		"--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true", "--authorization-mode=RBAC", "--token-auth-file="+c.path("tokens.csv"))
	c.until("the API server is ready", func() bool {
		r, err := c.client.Get(c.url + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// kill ends the API server as a crash would.
func (c *cluster) kill() {
	c.Helper()
	if err := c.server.Process.Kill(); err != nil {
		c.Fatal(err)
	}
	_ = c.server.Wait() // it was killed
	c.client.CloseIdleConnections()
}

// run starts a program of the cluster, which ends with the test.
func (c *cluster) run(name, program string, args ...string) *exec.Cmd {
	c.Helper()
	log, err := os.OpenFile(c.path(name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		c.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.Fatalf("start %s: %v", name, err)
	}
	c.Cleanup(func() {
		_ = cmd.Process.Kill() // or it was killed already
		_ = cmd.Wait()
		if c.Failed() {
			text, _ := os.ReadFile(c.path(name + ".log"))
			c.Logf("the end of the log of %s:\n%s", name, text[max(0, len(text)-2000):])
		}
	})
	return cmd
}

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) write(name, text string) string {
	c.Helper()
	if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	return c.path(name)
}

// ask makes a request as the admin, or as somebody else, and fails the test if it
// does.
func (c *cluster) ask(method, path string, body, into any, as ...string) {
	c.Helper()
	if code, text := c.try(method, path, body, into, as...); code/100 != 2 {
		c.Fatalf("%s %s: status %d: %s", method, path, code, text)
	}
}

func (c *cluster) try(method, path string, body, into any, as ...string) (int, string) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, err.Error()
	}
	r, err := http.NewRequest(method, c.url+path, bytes.NewReader(b))
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	}
	for _, user := range as {
		r.Header.Set("Impersonate-User", user)
	}
	got, err := c.client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err == nil && into != nil && got.StatusCode/100 == 2 {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return 0, err.Error()
	}
	return got.StatusCode, string(text)
}

// until waits for what others do in their own time.
func (c *cluster) until(what string, ok func() bool) {
	c.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			c.Fatalf("never: %s", what)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
