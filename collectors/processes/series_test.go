package processes

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func FuzzBounded(f *testing.F) {
	for _, s := range []string{"", "a", strings.Repeat("a", 129), strings.Repeat("ä", 64), "a" + strings.Repeat("ä", 64), strings.Repeat("\U0010ffff", 33)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = identity.Valid(s)
		got := bounded(s)
		if !strings.HasPrefix(s, got) || len(got) > 128 || (len(s) > 128 && len(got) < 125) || (len(s) <= 128 && got != s) || !utf8.ValidString(got) {
			t.Errorf("bounded(%q) = %q", s, got)
		}
	})
}
