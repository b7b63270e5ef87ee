//go:build host

package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// What the document has the reader ask for inside, and what the kernel must say of it.
const (
	memoryMax = "67108864"
	pidsMax   = "50"
)

// devenv is the sandbox, as kubectl eyas takes it.
const devenv = "eyas-dev/devenv-0/dev"

const cgroupFS = "/sys/fs/cgroup"

// TestKubelet: what docs/install.md says to do, done; and what is promised of it.
func TestKubelet(t *testing.T) {
	c := newCluster(t)
	began := time.Now()
	c.startNode()
	c.must("wait", "--for=create", "node/node-1", "--timeout=300s")
	c.must("apply", "--server-side", "-f", "testdata")
	c.follow("## 3. The agent")
	c.eventually("the agent's pod is ready", c.agentReady)
	t.Logf("the agent is ready %.0f s after the node was switched on", time.Since(began).Seconds())
	c.Cleanup(func() {
		if text, err := c.kubectl("-n", "eyas-system", "logs", "ds/eyas"); c.Failed() {
			c.Logf("the agent's log (%v):\n%s", err, text)
		}
	})
	c.condition()
	c.must("-n", "kube-system", "wait", "--for=condition=Ready", "pod/look", "--timeout=120s")

	c.follow("## 4. A sandbox")
	// In place of a registry.
	c.must("-n", "eyas-dev", "exec", "devenv-0", "--", "sh", "-ec", "podman load -q -i /opt/busybox.oci.tar; podman tag localhost/busybox docker.io/library/busybox")
	c.builds()
	c.follow("### Containers inside")
	s := c.sandbox()
	s.prepared()
	s.podman()
	s.named()
	s.record()
	s.gone()
	t.Logf("all in %.0f s", time.Since(began).Seconds())
}

// agentReady: its probes have been asked, and it has not been started twice.
func (c *cluster) agentReady() error {
	var pods corev1.PodList
	if err := c.object(&pods, "-n", "eyas-system", "pods"); err != nil {
		return err
	}
	if len(pods.Items) != 1 || len(pods.Items[0].Status.ContainerStatuses) != 1 {
		return fmt.Errorf("want one pod with one container: %+v", pods.Items)
	}
	if s := pods.Items[0].Status.ContainerStatuses[0]; !s.Ready || s.RestartCount != 0 {
		return fmt.Errorf("it is not: %+v", s)
	}
	return nil
}

// condition: the node says whether it is fit, and no check fails on it.
func (c *cluster) condition() {
	c.Helper()
	c.eventually("the node has the condition", func() error {
		var node corev1.Node
		if err := c.object(&node, "node", "node-1"); err != nil {
			return err
		}
		for _, k := range node.Status.Conditions {
			if k.Type == "NestedContainersReady" {
				if k.Status == corev1.ConditionTrue {
					c.Logf("NestedContainersReady: %s: %s", k.Reason, k.Message)
					return nil
				}
				return fmt.Errorf("it is %s: %s", k.Status, k.Message)
			}
		}
		return errors.New("there is none")
	})
}

// sandbox is the pod of the example.
type sandbox struct {
	*cluster
	pod    corev1.Pod
	id     string // of the container
	cgroup string // the container's, on the node
	nested string // full id of the container inside
}

// sandbox waits for the pod.
func (c *cluster) sandbox() *sandbox {
	c.Helper()
	s := &sandbox{cluster: c}
	c.must("-n", "eyas-dev", "wait", "--for=create", "pod/devenv-0", "--timeout=60s")
	c.must("-n", "eyas-dev", "wait", "--for=condition=Ready", "pod/devenv-0", "--timeout=300s")
	if err := c.object(&s.pod, "-n", "eyas-dev", "pod", "devenv-0"); err != nil {
		c.Fatal(err)
	}
	s.id = strings.TrimPrefix(s.pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
	all := c.find(cgroupFS+"/kubepods.slice", "*"+s.id+"*")
	if len(all) != 1 {
		c.Fatalf("cgroups of container %s: %q", s.id, all)
	}
	s.cgroup = all[0]
	return s
}

// sh runs a script in the sandbox, as a user does.
func (s *sandbox) sh(script string) string {
	s.Helper()
	return strings.TrimSpace(s.must("-n", "eyas-dev", "exec", "devenv-0", "--", "bash", "-ec", script))
}

// leases of the sandbox that the agent has on record.
func (s *sandbox) lease() (ledger.Lease, error) {
	out, err := s.eyas("leases", "--node", "node-1", "-o", "json")
	if err != nil {
		return ledger.Lease{}, err
	}
	var all []ledger.Lease
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return ledger.Lease{}, err
	}
	for _, l := range all {
		if l.Owner.ContainerID == s.id {
			return l, nil
		}
	}
	return ledger.Lease{}, fmt.Errorf("no lease of container %s: %+v", s.id, all)
}

// builds: BuildKit in its sandbox runs the steps of a Dockerfile; the example's job would
// have a base image of a registry.
func (c *cluster) builds() {
	c.Helper()
	out := c.must("-n", "eyas-build", "exec", "buildkitd-0", "--", "sh", "-ec", `buildctl --addr tcp://127.0.0.1:1234 build --progress plain \
		--frontend dockerfile.v0 --local context=/opt/context --local dockerfile=/opt/context --output type=local,dest=/tmp/out >&2; cat /tmp/out/built`)
	if !strings.HasPrefix(out, "built by 0\n") {
		c.Errorf("BuildKit's image says %q", out)
	}
	var events corev1.EventList
	if err := c.object(&events, "-n", "eyas-build", "events", "--field-selector", "reason=EyasPrepared,involvedObject.name=buildkitd-0"); err != nil || len(events.Items) != 1 {
		c.Errorf("Events of BuildKit's pod: %+v, %v", events.Items, err)
	}
}

// prepared: it has ids, a cgroup that is its user's, and an Event says so.
func (s *sandbox) prepared() {
	s.Helper()
	s.eventually("its lease is done", func() error {
		l, err := s.lease()
		if err == nil && l.State != ledger.Done {
			err = fmt.Errorf("it is %+v", l)
		}
		return err
	})
	if got, want := s.sh("cat /etc/subuid /etc/subgid"), "1000:1:999\n1000:1001:64535\n1000:1:999\n1000:1001:64535"; got != want {
		s.Errorf("inside, the ids are %q, want %q", got, want)
	}
	if got := s.sh("cat /proc/self/cgroup; stat -c %u /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs; ls /sys/fs/cgroup/init/cgroup.procs"); got != "0::/init\n1000\n1000\n/sys/fs/cgroup/init/cgroup.procs" {
		s.Errorf("inside, its cgroup is %q", got)
	}
	if got := s.file(s.cgroup + "/cgroup.subtree_control"); !strings.Contains(got, "memory") || !strings.Contains(got, "pids") {
		s.Errorf("controllers of its cgroup: %q", got)
	}
	s.eventually("the pod has an Event", func() error {
		var events corev1.EventList
		if err := s.object(&events, "-n", "eyas-dev", "events", "--field-selector", "reason=EyasPrepared,involvedObject.uid="+string(s.pod.UID)); err != nil {
			return err
		}
		if len(events.Items) != 1 || events.Items[0].InvolvedObject.UID != s.pod.UID || events.Items[0].Type != corev1.EventTypeNormal {
			return fmt.Errorf("%+v", events.Items)
		}
		s.Logf("Event: %s", events.Items[0].Message)
		return nil
	})
}

// podman starts the container inside anew, as its pod is a new one; its limits are in force.
func (s *sandbox) podman() {
	s.Helper()
	s.nested = s.sh("podman start db >&2; podman inspect -f {{.Id}} db")
	all := append(s.find(s.cgroup, s.nested), s.find(s.cgroup, "libpod-"+s.nested)...) // of crun, or of podman's own
	if len(all) != 1 {
		s.Fatalf("on the node, cgroups of nested container %s below %s: %q", s.nested, s.cgroup, all)
	}
	if got, want := s.file(all[0]+"/memory.max", all[0]+"/pids.max"), memoryMax+"\n"+pidsMax; got != want {
		s.Errorf("on the node, the nested container has memory.max and pids.max %q, want %q", got, want)
	}
	if got, want := s.sh("podman exec db cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"), memoryMax+"\n"+pidsMax; got != want {
		s.Errorf("inside, the nested container has memory.max and pids.max %q, want %q", got, want)
	}
	pid := s.sh("podman inspect -f {{.State.Pid}} db") // of the pod
	s.whois(pid)
}

// whois: by its pid in the sandbox, and by that of the node, the nested container's
// process is known with its pod.
func (s *sandbox) whois(pid string) {
	s.Helper()
	host := s.hostPID()
	for _, args := range [][]string{{"--in", devenv, "pid", pid}, {"--node", "node-1", "pid", host}} {
		out, err := s.eyas(append([]string{"whois", "-o", "json"}, args...)...)
		if err != nil {
			s.Error(err)
			continue
		}
		var id identity.Identity
		if err := json.Unmarshal([]byte(out), &id); err != nil {
			s.Error(err)
			continue
		}
		if id.Command != "sleep 1000000" || len(id.Chain) != 3 {
			s.Errorf("whois %q: %s", args, out)
			continue
		}
		pod, nested := id.Chain[1].Pod, id.Chain[2]
		if pod == nil || pod.Namespace != "eyas-dev" || pod.Name != "devenv-0" || pod.Container != "dev" || pod.UID != string(s.pod.UID) || pod.Stale {
			s.Errorf("whois %q: the pod is %+v", args, pod)
		}
		if nested.Name != "db" || nested.ContainerID != s.nested || id.Escaped {
			s.Errorf("whois %q: the nested container is %+v", args, nested)
		}
	}
	for _, args := range [][]string{{"whois", "--in", devenv, "pid", pid}, {"ps", devenv}} {
		out, err := s.eyas(args...)
		s.Logf("kubectl eyas %s (%v)\n%s", strings.Join(args, " "), err, out)
	}
}

// hostPID is the nested container's first process, on the node.
func (s *sandbox) hostPID() string {
	s.Helper()
	out, err := s.look("sh", "-c", `for pid in $(cat $(find "$1" -name cgroup.procs | grep "$2")); do [ $(cat /proc/$pid/comm) != sleep ] || echo $pid; done`, "sh", s.cgroup, s.nested)
	if err != nil || len(strings.Fields(out)) != 1 {
		s.Fatalf("who sleeps in the nested container's cgroup: %q, %v", out, err)
	}
	return out
}

// series are those of /metrics whose line has all words.
func (s *sandbox) series(words ...string) (found []string, err error) {
	text, err := s.metrics()
	for line := range strings.Lines(text) {
		all := !strings.HasPrefix(line, "#")
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found, err
}

// named: /metrics has the nested container with its pod, and its limits.
func (s *sandbox) named() {
	s.Helper()
	labels := []string{`namespace="eyas-dev"`, `pod="devenv-0"`, `container="dev"`}
	info, err := s.series(append(labels, "eyas_container_info{", `name="db"`, `runtime_id="`+s.nested+`"`)...)
	if err != nil || len(info) != 1 {
		s.Fatalf("eyas_container_info of the nested container: %q, %v", info, err)
	}
	_, nested, _ := strings.Cut(info[0], `nested="`)
	nested, _, _ = strings.Cut(nested, `"`)
	for name, want := range map[string]string{
		"eyas_container_memory_max_bytes": "6.7108864e+07", "eyas_container_pids_max": pidsMax, "eyas_container_processes": "1", "eyas_container_escaped": "0",
	} {
		s.eventually(name, func() error { // a slow machine's cgroups are read behind scrapes
			got, err := s.series(append(labels, name+"{", `nested="`+nested+`"`)...)
			if err == nil && (len(got) != 1 || !strings.HasSuffix(got[0], "} "+want)) {
				err = fmt.Errorf("of the nested container: %q; want %s", got, want)
			}
			return err
		})
	}
}

// gone: the pod is deleted, and nothing of it stays.
func (s *sandbox) gone() {
	s.Helper()
	l, err := s.lease()
	if err != nil {
		s.Fatal(err)
	}
	if len(s.find("/var/lib/eyas/subids", l.ID)) != 1 {
		s.Error("a lease that is in use has no files")
	}
	s.must("-n", "eyas-dev", "delete", "statefulset/devenv", "--cascade=foreground", "--timeout=120s")
	s.eventually("the lease is released", func() error {
		l, err := s.lease()
		if err == nil && l.State != ledger.Tombstone {
			err = fmt.Errorf("it is %+v", l)
		}
		return err
	})
	s.eventually("its cgroups, files and series are gone", func() error {
		var errs []error
		uid := strings.ReplaceAll(string(s.pod.UID), "-", "_")
		for _, left := range [][]string{s.find(cgroupFS, "*"+s.id+"*"), s.find(cgroupFS, "*"+uid+"*"), s.find(cgroupFS, "*"+s.nested+"*"), s.find("/var/lib/eyas/subids", l.ID)} {
			if len(left) > 0 {
				errs = append(errs, fmt.Errorf("left: %q", left))
			}
		}
		series, err := s.series(`pod="devenv-0"`)
		if len(series) > 0 {
			errs = append(errs, fmt.Errorf("series: %d, such as %s", len(series), series[0]))
		}
		return errors.Join(append(errs, err)...)
	})
	s.eventually("the agent was never started anew", s.agentReady)
}
