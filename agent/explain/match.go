package explain

import (
	"sort"
	"strings"
	"unicode/utf8"
)

// Most letters that may part two phrases of a pattern: in one line, and in text
// that was wrapped.
const (
	gapInLine  = 512
	gapWrapped = 256
)

// maxWrapped is how long a text can be one message that was wrapped, in bytes.
// In a longer one, a log, a message is a line; only if none is known, its
// lines are also taken together.
const maxWrapped = 4 << 10

// Match is a place where a text has an entry's error.
type Match struct {
	Entry Entry
	Line  int    // in the text, from 1
	Text  string // the start of that line, as it was given: escape it
	// Letters is how much of the text the pattern pins down.
	Letters int
	wrapped bool
}

// pattern are phrases in order.
type pattern struct {
	phrases []string
	letters int
}

// compile reads a pattern: phrases, parted by " … ". Of each only the letters
// count; it must begin and end where words do.
func compile(s string) pattern {
	var p pattern
	for part := range strings.SplitSeq(s, "…") {
		phrase := normalize(part).letters
		p.phrases = append(p.phrases, phrase)
		p.letters += len(phrase)
	}
	return p
}

// find returns where the pattern first matches: the start of its last phrase.
func (p pattern) find(t text, gap int) (at int, found bool) {
	var ends []int // of the phrases so far, wherever they match; nil before the first
	for i, phrase := range p.phrases {
		if phrase == "" {
			return 0, false
		}
		var next []int
		for from, e := 0, 0; from < len(t.letters); {
			n := strings.Index(t.letters[from:], phrase)
			if n < 0 {
				break
			}
			start, end := from+n, from+n+len(phrase)
			from = start + 1
			if !t.starts[start] || !t.starts[end] {
				continue
			}
			if i > 0 {
				for e < len(ends) && ends[e]+gap < start {
					e++
				}
				if e == len(ends) {
					break
				}
				if ends[e] > start {
					continue
				}
			}
			if len(next) == 0 {
				at = start
			}
			next = append(next, end)
		}
		if len(next) == 0 {
			return 0, false
		}
		ends = next
	}
	return at, true
}

// Find returns the entries whose error a text has, the most specific first.
// More than MaxText bytes are not looked at.
func Find(s string) []Match { return newMatcher(Catalogue()).find(s) }

type matcher struct {
	entries  []Entry
	patterns [][]pattern
}

func newMatcher(entries []Entry) matcher {
	m := matcher{entries: entries, patterns: make([][]pattern, len(entries))}
	for i, e := range entries {
		for _, s := range e.Match {
			m.patterns[i] = append(m.patterns[i], compile(s))
		}
	}
	return m
}

func (m matcher) find(s string) []Match {
	given := s[:min(len(s), MaxText)]
	t := normalize(given)
	best := map[int]Match{}
	for n := range t.lines {
		m.look(t.line(n), gapInLine, func(i, letters, _ int) {
			if letters > best[i].Letters {
				best[i] = Match{Entry: m.entries[i], Line: n + 1, Letters: letters}
			}
		})
	}
	if len(t.lines) > 1 && (len(given) <= maxWrapped || len(best) == 0) {
		m.look(t, gapWrapped, func(i, letters, at int) {
			if _, known := best[i]; !known {
				best[i] = Match{Entry: m.entries[i], Line: t.lineAt(at) + 1, Letters: letters, wrapped: true}
			}
		})
	}
	var all []Match
	for i := range m.entries {
		if found, ok := best[i]; ok {
			line, _, _ := strings.Cut(given[t.raw[found.Line-1]:], "\n")
			found.Text = clip(line)
			all = append(all, found)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Letters > all[j].Letters })
	return all
}

// maxLine bounds what is shown of a line, in bytes.
const maxLine = 1024

// clip bounds a line, between runes.
func clip(s string) string {
	if len(s) <= maxLine {
		return s
	}
	n := maxLine
	for n > maxLine-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// look hands the most specific matching pattern of each entry to yield.
func (m matcher) look(t text, gap int, yield func(entry, letters, at int)) {
	if t.letters == "" {
		return
	}
	for i, patterns := range m.patterns {
		letters, where := 0, 0
		for _, p := range patterns {
			if p.letters <= letters {
				continue
			}
			if at, found := p.find(t, gap); found {
				letters, where = p.letters, at
			}
		}
		if letters > 0 {
			yield(i, letters, where)
		}
	}
}
