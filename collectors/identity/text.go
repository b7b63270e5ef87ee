package identity

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Valid makes raw text from a sandbox valid UTF-8 without losing a byte:
// bytes that are none become \xNN. It bounds nothing and escapes nothing else.
func Valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}
