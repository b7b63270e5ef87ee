package daemon

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/agent/kube"
	"github.com/eyas-agent/eyas/agent/nri"
)

// Without Kubernetes the agent works as it did; who insists on it is told why not.
func TestOpenKube(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("NODE_NAME", "")
	for _, c := range []struct {
		mode, file, want string
	}{
		{kube.Auto, "", ""}, {kube.Off, "/nowhere", ""}, {kube.On, "", "kubeconfig"}, {kube.On, "/nowhere", "node-name"}, {kube.Auto, "/nowhere", ""},
	} {
		o := DefaultConfig()
		o.Kube, o.Kubeconfig, o.StateDir = c.mode, c.file, t.TempDir()
		k, err := openKube(o, "v0", zerolog.Nop())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, kubeconfig %q: %v, want %q", c.mode, c.file, err, c.want)
		}
		if k != nil || k.names() != nil || k.tell() != nil || k.collectors() != nil {
			t.Errorf("%s: there is a Kubernetes", c.mode)
		}
		k.follow(nil)
		k.run(nil, nil)
	}
	t.Setenv("NODE_NAME", "from-env")
	c := DefaultConfig()
	if c.nodeName() != "from-env" {
		t.Errorf("node %q", c.nodeName())
	}
	for name, ok := range map[string]bool{"": true, "node-1.example": true, "Node": false, "a/b": false, strings.Repeat("a", 254): false} {
		if err := nodeName(name); (err == nil) != ok {
			t.Errorf("node-name %q: %v", name, err)
		}
	}
}

// Every outcome that the plugin may tell has a reason.
func TestReasons(t *testing.T) {
	for _, w := range []nri.What{nri.Prepared, nri.Unprepared, nri.PoolDry, nri.Refused} {
		if reasons[w] == "" {
			t.Errorf("%s has no reason", w)
		}
	}
}

func TestVerdict(t *testing.T) {
	yes, no := true, false
	result := func(id string, s doctor.State) doctor.Result { return doctor.Result{ID: id, State: s} }
	for _, c := range []struct {
		all  []doctor.Result
		want kube.Verdict
	}{
		{[]doctor.Result{result("a", doctor.OK), result("b", doctor.NotApplicable)}, kube.Verdict{Fit: &yes, Reason: "ChecksPass", Message: "all 2 checks are fine"}},
		{[]doctor.Result{result("a", doctor.Warn), result("b", doctor.Unknown)}, kube.Verdict{Fit: &yes, Reason: "ChecksWarn", Message: "warn: a; unknown: b; see eyas doctor node there"}},
		{[]doctor.Result{result("a", doctor.Warn), result("b", doctor.Fail), result("c", doctor.Fail)}, kube.Verdict{Fit: &no, Reason: "ChecksFail", Message: "fail: b, c; warn: a; see eyas doctor node there"}},
	} {
		if d := cmp.Diff(c.want, verdict(c.all)); d != "" {
			t.Error(d)
		}
	}
}
