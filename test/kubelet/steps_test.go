//go:build host

package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSteps(t *testing.T) {
	const text = "# A\n```console\n$ no\n```\n## B\n```console\n$ one  two\nout 1\n…\n$ three\n```\n```yaml\n$ no\n```\n### C\n```console\n$ no\n```\n"
	want := []step{{line: 7, command: "one  two", prints: "out 1\n…\n"}, {line: 10, command: "three"}}
	if d := cmp.Diff(want, steps(text, "## B"), cmp.AllowUnexported(step{})); d != "" {
		t.Error(d)
	}
	for _, tc := range []struct {
		prints, printed string
		want            bool
	}{
		{"", "", true},
		{"", "more\n", false},
		{"a  7\n", "a 12.5\n", true},
		{"a\n", "a\nb\n", false},
		{"a\n…\nc\n", "a\nb\nb\nc\n", true},
		{"a\n…\nc\n", "a\nc\n", true},
		{"a\n…\nc\n", "a\nb\n", false},
		{"…\nc\n", "a\nb\nc\n", true},
		{"id 0123456789ab x…y\n", "id ffffffffffffffff xzzy\n", true},
		{"id 0123456789ab\n", "id pod\n", false},
		{"uid 832439272\n", "uid 7\n", true},
		{"4s ago\n", "1m12s ago\n", true},
		{"a.c\n", "abc\n", false},
	} {
		if got := (step{prints: tc.prints}).agrees(tc.printed); got != tc.want {
			t.Errorf("%q agrees with %q: %v", tc.printed, tc.prints, got)
		}
	}
}
