package command

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/collectors/identity"
)

var examined = []doctor.Result{
	{ID: "kernel-btf", What: "the kernel describes its types (BTF)", State: doctor.OK, Found: "5387 KiB", Why: "programs need it"},
	{
		ID: "subuid", What: "/etc/subuid is well-formed", State: doctor.Fail,
		Found: "line 1: \x1b[2J\u202e" + strings.Repeat("long ", 20), Why: "a line it cannot read counts for nothing", Fix: "write user:first:count",
	},
	{ID: "keys", What: "users may have enough kernel keys", State: doctor.Warn, Found: "kernel.keys.maxkeys 200", Why: "each container has one", Fix: "raise it"},
	{ID: "lsm", What: "which security modules are in use", State: doctor.Unknown, Found: "no such file", Why: "denials look alike", Fix: "mount securityfs"},
	{ID: "selinux", What: "SELinux lets containers nest", State: doctor.NotApplicable, Found: "SELinux is not in use", Why: "types"},
}

func TestDoctorOutput(t *testing.T) {
	for _, output := range []string{"table", "wide", "json"} {
		var b bytes.Buffer
		k := &client{env: Env{Stdout: &b}, output: output}
		if err := k.printResults(examined); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\u202e") {
			t.Errorf("%s: hostile text is not escaped", output)
		}
		file := "testdata/doctor-" + output + ".golden"
		if os.Getenv("EYAS_UPDATE") != "" {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s (-want +got), EYAS_UPDATE=1 writes it anew:\n%s", file, diff)
		}
	}
}

func TestDoctorUsage(t *testing.T) {
	for _, args := range [][]string{
		{"doctor"}, {"doctor", "a", "b"}, {"doctor", "node", "-o", "xml"}, {"doctor", "node", "--max-pods", "-1"},
		{"doctor", "node", "--try"},
	} {
		var out, stderr bytes.Buffer
		if code := Main(t.Context(), Env{Args: args, Stdout: &out, Stderr: &stderr}); code != exitUsage {
			t.Errorf("%q: exit status %d, want %d: %s", args, code, exitUsage, stderr.String())
		}
	}
}

func TestSelectNode(t *testing.T) {
	node := func(id, name string, children ...treeNode) treeNode {
		n := treeNode{Children: children}
		n.ID, n.Name, n.ContainerID = id, name, id+"ffff"
		return n
	}
	nodes := []treeNode{node("aaaa00000001", "web", node("bbbb00000001", "db")), node("aaaa00000002", "ops", node("bbbb00000002", "db"))}
	for expr, want := range map[string]string{
		"web": "aaaa00000001", "web/db": "bbbb00000001", "ops/db": "bbbb00000002", "bbbb00000002ffff": "bbbb00000002", "aaaa00000002": "aaaa00000002",
	} {
		if got, err := selectNode(expr, nodes); err != nil || got.ID != want {
			t.Errorf("%s: got %q, %v; want %s", expr, got.ID, err, want)
		}
	}
	if _, err := selectNode("db", nodes); !errors.Is(err, identity.ErrAmbiguous) {
		t.Errorf("db: %v", err)
	}
	if _, err := selectNode("nobody", nodes); !errors.Is(err, identity.ErrNoContainer) {
		t.Errorf("nobody: %v", err)
	}
}
