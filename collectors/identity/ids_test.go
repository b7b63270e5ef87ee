package identity

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseNSKey(t *testing.T) {
	for s, want := range map[string]NSKey{
		"4026531837.0":                    {Inum: 4026531837},
		"1.2":                             {Inum: 1, Gen: 2},
		"4294967295.18446744073709551615": {Inum: math.MaxUint32, Gen: math.MaxUint64},
		"0.0":                             {},
	} {
		if got, ok := ParseNSKey(s); !ok || got != want || got.String() != s {
			t.Errorf("%q: %v, %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{
		"", ".", "1", "1.", ".1", "1.2.3", "1..2", "-1.2", "+1.2", "1.-2", "4294967296.0", "1.18446744073709551616",
		" 1.2", "1.2 ", "0x1.2", "1_0.2", "1.2\n", "1.2\x00", "１.2", strings.Repeat("1", 1<<16) + ".2",
	} {
		if got, ok := ParseNSKey(s); ok {
			t.Errorf("%.30q: %v", s, got)
		}
	}
	if (NSKey{Gen: 1}).IsZero() != true || (NSKey{Inum: 1}).IsZero() {
		t.Error("a key names nothing without an inum, and only then")
	}
}

func FuzzParseNSKey(f *testing.F) {
	for _, s := range []string{"1.2", "4294967295.18446744073709551615", "1", "1.2.3", "+1.2", "4294967296.0"} {
		f.Add(s, uint32(1), uint64(2))
	}
	f.Fuzz(func(t *testing.T, s string, inum uint32, gen uint64) {
		key := NSKey{Inum: inum, Gen: gen}
		if got, ok := ParseNSKey(key.String()); !ok || got != key {
			t.Fatalf("%v came back as %v, %v", key, got, ok)
		}
		got, ok := ParseNSKey(s)
		if !ok {
			return
		}
		// What is taken is digits, leading zeros included, and means itself.
		if strings.Trim(s, "0123456789.") != "" || strings.Count(s, ".") != 1 {
			t.Fatalf("%q is taken for %v", s, got)
		}
		if again, ok := ParseNSKey(got.String()); !ok || again != got {
			t.Fatalf("%q: %v, then %v, %v", s, got, again, ok)
		}
	})
}

func TestValid(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"web":                      "web",
		"äöü▸\u202e":               "äöü▸\u202e", // the printer escapes
		"\x1b[31m\n\x00":           "\x1b[31m\n\x00",
		"\xff":                     `\xff`,
		"a\x80b":                   `a\x80b`,
		"\xc3":                     `\xc3`, // cut in a rune
		"\xe2\x96":                 `\xe2\x96`,
		"\xc0\xaf":                 `\xc0\xaf`,         // overlong
		"\xed\xa0\x80":             `\xed\xa0\x80`,     // surrogate
		"\xf4\x90\x80\x80":         `\xf4\x90\x80\x80`, // beyond the last rune
		"\ufffd":                   "\ufffd",           // a rune like any other
		"\ufffd\xff\ufffd":         "\ufffd\\xff\ufffd",
		strings.Repeat("\xff", 99): strings.Repeat(`\xff`, 99),
	} {
		if got := Valid(in); got != want {
			t.Errorf("Valid(%q) = %q, want %q", in, got, want)
		}
	}
}

// Text is made valid once, every byte of it stays, and no more is made of it
// than four bytes for one.
func FuzzValid(f *testing.F) {
	for _, s := range []string{"", "web", "\xff\xfe", "ä\xc3", "\ufffd", "\xed\xa0\x80", `\xff`, "\x1b]0;\a\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Valid(s)
		if !utf8.ValidString(got) {
			t.Fatalf("Valid(%q) = %q", s, got)
		}
		if again := Valid(got); again != got {
			t.Fatalf("%q: %q, then %q", s, got, again)
		}
		if utf8.ValidString(s) && got != s {
			t.Fatalf("%q was valid, and became %q", s, got)
		}
		if len(got) < len(s) || len(got) > 4*len(s) {
			t.Fatalf("%d bytes became %d", len(s), len(got))
		}
		var back []byte
		for rest, in := got, s; in != ""; {
			r, n := utf8.DecodeRuneInString(in)
			if r == utf8.RuneError && n == 1 {
				const digits = "0123456789abcdef"
				back = append(back, byte(strings.IndexByte(digits, rest[2])<<4|strings.IndexByte(digits, rest[3])))
				rest = rest[4:]
			} else {
				back = append(back, rest[:n]...)
				rest = rest[n:]
			}
			in = in[n:]
		}
		if string(back) != s {
			t.Fatalf("%q came back as %q", s, back)
		}
	})
}
