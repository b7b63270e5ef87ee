package command

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// asPlugin runs the program as kubectl does, of a user without a kubeconfig.
func asPlugin(t *testing.T, program string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	var out, errs bytes.Buffer
	code = Main(t.Context(), Env{Program: program, Args: args, Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

// Each command of the plugin has its own flags and those of kubectl, of which none
// are the same; and whoever has no kubeconfig is told.
func TestPluginCommands(t *testing.T) {
	root := newPlugin(Env{})
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
		code, out, errs := asPlugin(t, "/usr/local/bin/kubectl-eyas", c.Name(), "--help")
		if code != exitOK || errs != "" || !strings.Contains(out, "kubectl eyas "+c.Name()) || !strings.Contains(out, "--context string") || strings.Contains(out, "CHAIN [flags]") {
			t.Errorf("%s: %d %s\n%s", c.Name(), code, errs, out)
		}
	}
	want := []string{"doctor", "du", "enter", "explain", "leases", "logs", "map", "oom", "ps", "top", "tree", "version", "whois"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	code, _, errs := asPlugin(t, "kubectl-eyas", "ps", "team/web")
	if code != exitFailed || !strings.Contains(errs, "no kubeconfig: name one with --kubeconfig or $KUBECONFIG") {
		t.Errorf("no kubeconfig: %d %s", code, errs)
	}
	if code, out, errs := asPlugin(t, "kubectl_complete-eyas", "who"); code != exitOK || !strings.HasPrefix(out, "whois\t") {
		t.Errorf("completion: %d %q %s", code, out, errs)
	}
	if code, out, _ := asPlugin(t, "/bin/eyas", "--help"); code != exitOK || strings.Contains(out, "kubectl eyas") {
		t.Errorf("eyas by its own name: %d\n%s", code, out)
	}
}

func TestIsChain(t *testing.T) {
	for _, c := range []struct {
		args string
		n    string // namespace
		want bool
	}{
		{"ps web", "", true}, {"ps", "", false}, {"tree team/web", "", false}, {"whois pid 7", "", false}, {"doctor node", "", false}, {"doctor team/web", "", true},
		{"enter team/web ls", "", true}, {"explain -", "", false}, {"explain team/web", "", true}, {"explain web", "team", true}, {"explain EPERM", "", false},
		{"explain pid 7", "team", false}, {"explain path /etc", "team", false}, {"leases", "", false},
	} {
		p := &plugin{}
		set := pflag.NewFlagSet("x", pflag.ContinueOnError)
		p.flags.Bind(set)
		if err := set.Parse([]string{"--namespace=" + c.n}); err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(c.args)
		if got := p.isChain(f[0], f[1:]); got != c.want {
			t.Errorf("%q in %q: %v", c.args, c.n, got)
		}
	}
	p := &plugin{}
	if p.isChain("explain", []string{"error: a/b failed"}) {
		t.Error("a text with a slash is no pod")
	}
}

// What a node is told of stays that of one node.
func TestOneNode(t *testing.T) {
	j := &job{plugin: &plugin{}}
	if err := j.at("a"); err != nil || j.node != "a" || j.at("a") != nil {
		t.Error(err)
	}
	if err := j.at("b"); err == nil || !strings.Contains(err.Error(), "two nodes, a and b") {
		t.Error(err)
	}
}
