package subid

import (
	"strings"
	"testing"
)

func TestLint(t *testing.T) {
	agent := PlanRange{"agent", Defaults().Range}
	kubelet := PlanRange{"kubelet", Range{805306368, 268435456}}
	if f := Lint([]PlanRange{agent, kubelet}, []Claim{{Range{100000, 65536}, "/etc/subuid line 1"}}); len(f) != 0 {
		t.Errorf("the advised plan: %+v", f)
	}
	for name, tc := range map[string]struct {
		r    Range
		want []string // severity: part of the text
	}{
		"empty":            {Range{base, 0}, []string{"error: is no range"}},
		"unaligned":        {Range{base + 1, 65536}, []string{"error: does not start", "error: pool"}},
		"half blocks":      {Range{base, 65537}, []string{"error: not made of whole blocks", "error: pool"}},
		"kubelet's own":    {Range{65536, 4294901760}, []string{"error: last block", "warning: useradd", "warning: 2^31", "error: foreign", "error: no id", "error: /etc/subuid line 1", "error: pool"}},
		"documented":       {Range{65536, 7208960}, []string{"warning: useradd", "error: /etc/subuid line 1"}},
		"host ids":         {Range{0, 65536}, []string{"warning: useradd", "error: root and system", "error: regular", "error: dynamic"}},
		"above containers": {Range{1879048192, 65536}, []string{"warning: passes 1879048191"}},
		"foreign":          {Range{2147352576, 65536}, []string{"warning: passes 1879048191", "error: foreign"}},
		"above 2^31":       {Range{1 << 31, 65536}, []string{"warning: 2^31"}},
		"last":             {Range{4294901760, 65536}, []string{"error: last block", "warning: 2^31", "error: no id"}},
		"pool":             {Range{base + 65536, 65536}, []string{"error: pool"}},
	} {
		found := Lint([]PlanRange{{"x", tc.r}}, []Claim{{Range{100000, 65536}, "alice (/etc/subuid line 1)"}, {Range{base + 65536, 65536}, "pool"}})
		if len(found) != len(tc.want) {
			t.Errorf("%s: %d findings, want %d: %+v", name, len(found), len(tc.want), found)
			continue
		}
		for i, w := range tc.want {
			severity, text, _ := strings.Cut(w, ": ")
			if f := found[i]; string(f.Severity) != severity || !strings.Contains(f.Text, text) || f.Fix == "" {
				t.Errorf("%s: %+v, want %q", name, f, w)
			}
		}
	}
	f := Lint([]PlanRange{agent, {"kubelet", Range{base, 65536}}}, nil)
	if len(f) != 1 || f[0].Severity != SeverityError || !strings.Contains(f[0].Text, "overlaps kubelet") {
		t.Errorf("%+v", f)
	}
	var many []Claim
	for i := range uint32(1000) {
		many = append(many, Claim{Range{base + i, 1}, "user"})
	}
	if f := Lint([]PlanRange{agent}, many); len(f) != maxFindings+1 || !strings.Contains(f[maxFindings].Text, "980 more") {
		t.Errorf("%d findings", len(f))
	}
}
