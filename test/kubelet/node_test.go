//go:build host

package kubelet

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// The port of kubelet, which the API server asks for exec.
const kubeletPort = "10250"

// startNode boots the node.
func (c *cluster) startNode() {
	c.Helper()
	peers := os.Getenv("EYAS_KUBELET")
	port := serverURL[strings.LastIndex(serverURL, ":")+1:]
	out := c.path("node")
	c.start("vm", "../vm/run", "-k", "7.2", "--systemd", "--net", kubeletPort, "-m", "4096", "-t", "1500", "--out", out, "--",
		"./guest-node", c.kubeconfig("kubeconfig-node", "https://10.0.2.2:"+port), port, filepath.Join(peers, "kubelet"), os.Getenv("EYAS_IMAGE"))
	c.Cleanup(func() {
		for _, name := range []string{"kubelet.log", "containerd.log", "proxy.log"} {
			c.tail(filepath.Join(out, name))
		}
	})
}

// look is a command of busybox on the node.
func (c *cluster) look(command ...string) (string, error) {
	out, err := c.kubectl(append([]string{"-n", "kube-system", "exec", "look", "--"}, command...)...)
	return strings.TrimSpace(out), err
}

// file reads files of the node, one after the other.
func (c *cluster) file(paths ...string) string {
	c.Helper()
	out, err := c.look(append([]string{"cat"}, paths...)...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

// find lists what of a name is below a directory of the node; "": a name like any.
func (c *cluster) find(dir, name string) []string {
	c.Helper()
	out, err := c.look("find", dir, "-name", name)
	if err != nil && !strings.Contains(err.Error(), "No such file") { // some go meanwhile
		c.Fatal(err)
	}
	return strings.Fields(out)
}

// eyas is a command of the plugin of kubectl.
func (c *cluster) eyas(args ...string) (string, error) {
	return c.kubectl(append([]string{"eyas"}, args...)...)
}

// metrics scrapes the agent.
func (c *cluster) metrics() (string, error) {
	ip, err := c.kubectl("-n", "eyas-system", "get", "pods", "-l", "app.kubernetes.io/name=eyas", "-o", "jsonpath={.items[0].status.podIP}")
	if err == nil && ip == "" {
		err = errors.New("the agent's pod has no address")
	}
	if err != nil {
		return "", err
	}
	return c.look("wget", "-qO-", "http://"+ip+":9817/metrics")
}
