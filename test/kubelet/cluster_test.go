//go:build host

package kubelet

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds waits: the node is emulated, and starts within.
const patience = 6 * time.Minute

const (
	etcdURL   = "http://127.0.0.1:2379"
	serverURL = "https://127.0.0.1:6443"
	adminName = "admin-of-the-test" // whose token it is, too
)

// cluster is a control plane, and kubectl for it.
type cluster struct {
	*testing.T
	dir string          // what it keeps, and logs
	ca  []byte          // certificate that the API server's is signed with
	ctx context.Context // ends when a program does, which is the cause
	end context.CancelCauseFunc
}

// newCluster starts etcd, the API server, the controller manager and the scheduler.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("EYAS_KUBELET") == "" {
		t.Skip("it wants a network of its own: see make test-kubelet")
	}
	c := &cluster{T: t, dir: t.TempDir()}
	c.ctx, c.end = context.WithCancelCause(t.Context())
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	private, pub := c.pem("sa.key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), c.pem("sa.pub", "PUBLIC KEY", public)
	tokens := c.write("tokens.csv", adminName+",admin,admin,system:masters\n")
	c.start("etcd", "etcd", "--data-dir", c.path("etcd"), "--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL, "--unsafe-no-fsync")
	c.start("apiserver", filepath.Join(os.Getenv("EYAS_KUBE"), "kube-apiserver"), "--etcd-servers="+etcdURL, "--cert-dir="+c.path("certs"),
		"--bind-address=127.0.0.1", "--advertise-address=10.0.2.2", "--secure-port=6443", "--endpoint-reconciler-type=none", "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+pub, "--service-account-signing-key-file="+private,
		"--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true", "--authorization-mode=RBAC", "--token-auth-file="+tokens)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is its own
	c.eventually("the API server is ready", func() error {
		r, err := client.Get(serverURL + "/readyz")
		if err == nil {
			defer r.Body.Close()
			if r.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %s", r.Status)
			}
		}
		return err
	})
	c.ca = c.authority(c.path("certs/apiserver.crt"))
	kubeconfig := c.kubeconfig("kubeconfig", serverURL)
	c.start("controllers", filepath.Join(os.Getenv("EYAS_KUBELET"), "kube-controller-manager"), "--kubeconfig="+kubeconfig, "--leader-elect=false",
		"--service-account-private-key-file="+private, "--root-ca-file="+c.write("ca.crt", string(c.ca)))
	c.start("scheduler", filepath.Join(os.Getenv("EYAS_KUBELET"), "kube-scheduler"), "--kubeconfig="+kubeconfig, "--leader-elect=false")
	return c
}

// authority is the certificate of a file that others are signed with.
func (c *cluster) authority(file string) []byte {
	c.Helper()
	rest, err := os.ReadFile(file)
	if err != nil {
		c.Fatal(err)
	}
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && cert.IsCA {
			return pem.EncodeToMemory(block)
		}
	}
	c.Fatalf("%s has no certificate of an authority", file)
	return nil
}

// kubeconfig is the admin's, who comes to the API server by a URL.
func (c *cluster) kubeconfig(name, server string) string {
	c.Helper()
	return c.write(name, "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: '"+server+"', certificate-authority-data: "+base64.StdEncoding.EncodeToString(c.ca)+
		", tls-server-name: kubernetes.default.svc}}]\nusers: [{name: u, user: {token: "+adminName+"}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n")
}

// start starts a program, which ends with stop, or with the test, and logs to a file that
// is shown if the test fails.
func (c *cluster) start(name, program string, args ...string) (stop func()) {
	c.Helper()
	log, err := os.Create(c.path(name + ".log"))
	if err != nil {
		c.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.Fatalf("start %s: %v", name, err)
	}
	var wanted atomic.Bool
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // however it ends, it should not
		close(ended)
		if !wanted.Load() {
			c.end(fmt.Errorf("%s ended", name))
		}
	}()
	stop = sync.OnceFunc(func() {
		wanted.Store(true)
		_ = cmd.Process.Signal(syscall.SIGTERM) // vm/run cleans up
		select {
		case <-ended:
		case <-time.After(5 * time.Second): // the API server waits for who watches
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	c.Cleanup(func() {
		stop()
		c.tail(c.path(name + ".log"))
	})
	return stop
}

// tail shows the end of a log, if the test failed.
func (c *cluster) tail(file string) {
	if c.Failed() {
		text, err := os.ReadFile(file)
		c.Logf("the end of %s (%v):\n%s", filepath.Base(file), err, text[max(0, len(text)-6000):])
	}
}

// eventually asks until there is no error, a program of the cluster dies, or patience
// ends.
func (c *cluster) eventually(what string, ask func() error) {
	c.Helper()
	tick, began := time.NewTicker(500*time.Millisecond), time.Now()
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		err := ask()
		if err == nil {
			c.Logf("%s: after %.1f s", what, time.Since(began).Seconds())
			return
		}
		select {
		case <-c.ctx.Done():
			c.Fatalf("%s: %v: %v", what, context.Cause(c.ctx), err)
		case <-deadline:
			c.Fatalf("%s: not in time: %v", what, err)
		case <-tick.C:
		}
	}
}

// kubectl runs a command of kubectl, or of a plugin, and returns what it wrote to
// standard output.
func (c *cluster) kubectl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, kubectl(), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.path("kubeconfig")) // a plugin allows no flags before its name
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("kubectl %.200s: %w: %s%s", strings.Join(args, " "), errors.Join(err, context.Cause(ctx)), out, stderr.Bytes())
	}
	return string(out), err
}

func kubectl() string { return filepath.Join(os.Getenv("EYAS_KUBELET"), "kubectl") }

// must is kubectl that succeeds.
func (c *cluster) must(args ...string) string {
	c.Helper()
	out, err := c.kubectl(args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

// object is what kubectl gets.
func (c *cluster) object(into any, args ...string) error {
	out, err := c.kubectl(append([]string{"get", "-o", "json"}, args...)...)
	if err == nil {
		err = json.Unmarshal([]byte(out), into)
	}
	return err
}

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) write(name, text string) string {
	c.Helper()
	if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	return c.path(name)
}

func (c *cluster) pem(name, kind string, b []byte) string {
	c.Helper()
	return c.write(name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})))
}
