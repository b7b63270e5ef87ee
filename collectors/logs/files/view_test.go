package files

import (
	"testing"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestSelected: what is said of a container, or of the nearest around it, comes before
// what is said of all.
func TestSelected(t *testing.T) {
	const (
		self, in = bpf.LogSelf, bpf.LogInside
		both     = self | in
		errs     = both | bpf.LogNoStdout
	)
	for name, tc := range map[string]struct {
		all, outer, inner          bpf.LogSelection
		wantOuter, wantInner, deep bpf.LogSelection // deep: of what is inside the inner one
	}{
		"nobody":                        {},
		"all":                           {all: both, wantOuter: both, wantInner: both, deep: both},
		"nested":                        {all: in, wantInner: in, deep: in},
		"all but a pod":                 {all: both, outer: bpf.LogNone},
		"nested, but of a pod":          {all: in, outer: bpf.LogNone},
		"all, of a pod one stream":      {all: both, outer: errs, wantOuter: errs, wantInner: errs, deep: errs},
		"nested, of a pod one stream":   {all: in, outer: errs, wantOuter: errs, wantInner: errs, deep: errs},
		"a pod":                         {outer: both, wantOuter: both, wantInner: both, deep: both},
		"a pod alone":                   {outer: self, wantOuter: self},
		"all, of one alone a stream":    {all: both, inner: self | bpf.LogNoStdout, wantOuter: both, wantInner: self | bpf.LogNoStdout, deep: both},
		"a pod, but nothing of one":     {outer: both, inner: bpf.LogNone, wantOuter: both},
		"one in a pod that wants none":  {outer: bpf.LogNone, inner: both, wantInner: both, deep: both},
		"what is inside, of all one":    {outer: in, inner: errs, wantInner: errs, deep: errs},
		"all, and of one what is in it": {all: self, inner: in, wantOuter: self, deep: in},
	} {
		t.Run(name, func(t *testing.T) {
			n := &table{t: identity.NewTable(identity.Options{Boot: "b"})}
			n.put(7, "pod", 100)
			n.put(8, "inner", 100, 200)
			s := New(Options{Table: n})
			outer, inner := n.t.ByPIDNS(identity.NSKey{Inum: 100, Gen: 100}), n.t.ByPIDNS(identity.NSKey{Inum: 200, Gen: 200})
			s.all = tc.all
			s.chosen[boxOf(outer.PIDNS)], s.chosen[boxOf(inner.PIDNS)] = tc.outer, tc.inner
			if a, b, c := s.selected(outer), s.selected(inner), s.inside(inner); a != tc.wantOuter || b != tc.wantInner || c != tc.deep {
				t.Errorf("outer %b, inner %b, inside %b; want %b, %b, %b", a, b, c, tc.wantOuter, tc.wantInner, tc.deep)
			}
		})
	}
}
