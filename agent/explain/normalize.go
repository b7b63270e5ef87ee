package explain

import "strings"

// MaxText bounds the text that is looked at, in bytes.
const MaxText = 64 << 10

// text is what is left of a text for comparison: its letters, in lower case.
// Blanks, punctuation, quotes, digits and escapes only part words, so that
// neither numbers, quoting nor line breaks matter.
type text struct {
	letters string
	// starts[i]: a word starts at letters[i]. It has one more, for the end.
	starts []bool
	lines  []int // where each line starts in letters
	raw    []int // and in what was given
}

func normalize(s string) text {
	t := text{lines: []int{0}, raw: []int{0}}
	var b strings.Builder
	b.Grow(len(s))
	start := true
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
			fallthrough
		case 'a' <= c && c <= 'z':
			b.WriteByte(c)
			t.starts = append(t.starts, start)
			start = false
			i++
			continue
		case c == '\n':
			i++
			t.lines, t.raw = append(t.lines, b.Len()), append(t.raw, i)
		default:
			i += skip(s[i:])
		}
		start = true
	}
	t.letters, t.starts = b.String(), append(t.starts, true)
	return t
}

// skip returns how many bytes at the start of s stand for no letter: a terminal
// escape, an escape of a log such as \n or \u001b, or one byte.
func skip(s string) int {
	switch s[0] {
	case 0x1b:
		if len(s) > 1 && s[1] == '[' {
			return 1 + sequence(s[1:])
		}
	case '[':
		// A log may have lost the escape character, or written it out.
		if n := sequence(s); n > 2 && s[n-1] == 'm' {
			return n
		}
	case '\\':
		return escape(s)
	}
	return 1
}

// maxSequence bounds a terminal's sequence: an unfinished one hides nothing.
const maxSequence = 32

// sequence returns the length of "[", parameters and a final letter; 1 if s is
// something else.
func sequence(s string) int {
	for i := 1; i < len(s) && i < maxSequence; i++ {
		switch c := s[i]; {
		case c >= 0x40 && c <= 0x7e:
			return i + 1
		case c < 0x20 || c > 0x3f:
			return 1
		}
	}
	return 1
}

// escape returns the length of backslashes and of what they make an escape of.
func escape(s string) int {
	n := len(s) - len(strings.TrimLeft(s, `\`))
	if n == len(s) {
		return n
	}
	digits := 0
	switch s[n] {
	case 'n', 't', 'r':
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	default:
		return n
	}
	end := n + 1 + digits
	if end > len(s) || strings.Trim(s[n+1:end], "0123456789abcdefABCDEF") != "" {
		return n
	}
	return end
}

// line returns one line of t.
func (t text) line(n int) text {
	from, to := t.lines[n], len(t.letters)
	if n+1 < len(t.lines) {
		to = t.lines[n+1]
	}
	starts := t.starts[from : to+1]
	return text{letters: t.letters[from:to], starts: starts, lines: []int{0}, raw: t.raw[n : n+1]}
}

// lineAt returns the line that a letter is in.
func (t text) lineAt(letter int) int {
	n := 0
	for n+1 < len(t.lines) && t.lines[n+1] <= letter {
		n++
	}
	return n
}
