package logs

import (
	"testing"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

func TestSelection(t *testing.T) {
	web := &identity.Container{ID: "111111111111", Name: identity.Name{Name: "web"}, Level: 1, PIDLevel: 1}
	mid := &identity.Container{ID: "222222222222", Nodename: "mid", Parent: web, Level: 2, PIDLevel: 2}
	db := &identity.Container{ID: "333333333333", Name: identity.Name{Name: "db", ID: "feedfeedfeed"}, Parent: mid, Level: 3, PIDLevel: 3}
	pod := Pod{Namespace: "prod", Name: "web-0", Container: "main"}
	const (
		all  = bpf.LogSelf | bpf.LogInside
		errs = bpf.LogNoStdout
		outs = bpf.LogNoStderr
	)
	for _, tc := range []struct {
		sel  string
		want [3]bpf.LogSelection
	}{
		{"web", [3]bpf.LogSelection{all, 0, 0}},
		{"web/*", [3]bpf.LogSelection{0, all, all}},
		{"web/db", [3]bpf.LogSelection{0, 0, all}},
		{"other,mid", [3]bpf.LogSelection{0, all, 0}},
		{"mid/web", [3]bpf.LogSelection{}},
		{"feed*", [3]bpf.LogSelection{0, 0, all}},
		{"*/mid/db", [3]bpf.LogSelection{0, 0, all}},
		{"nested", [3]bpf.LogSelection{}},
		{"namespace=prod", [3]bpf.LogSelection{all, 0, 0}},
		{"namespace=pro?;pod=web-*;container=main", [3]bpf.LogSelection{all, 0, 0}},
		{"namespace=prod;container=side", [3]bpf.LogSelection{}},
		{"namespace=test", [3]bpf.LogSelection{}},
		{"level=2", [3]bpf.LogSelection{0, bpf.LogSelf, 0}},
		{"level=2+", [3]bpf.LogSelection{0, all, 0}},
		{"namespace=prod;level=3;stream=stderr", [3]bpf.LogSelection{0, 0, bpf.LogSelf | errs}},
		{"db;namespace=test", [3]bpf.LogSelection{}},
		{"db;stream=stdout", [3]bpf.LogSelection{0, 0, all | outs}},
		{"db;stream=stdout,level=3;stream=stderr", [3]bpf.LogSelection{0, 0, all}},
		{"db;stream=stdout,level=3;stream=stdout", [3]bpf.LogSelection{0, 0, all | outs}},
	} {
		s, err := ParseSelection(tc.sel)
		if err != nil {
			t.Fatal(tc.sel, err)
		}
		if got := [3]bpf.LogSelection{s.of(web, pod), s.of(mid, pod), s.of(db, pod)}; got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.sel, got, tc.want)
		}
	}
	for _, bad := range []string{"", "a//b", "[", "a,", "level=0", "level=x", "stream=stdin", "namespace=", "colour=red", "a;b", ";level=1", "\x1b=1"} {
		if _, err := ParseSelection(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
