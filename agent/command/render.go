package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Escape makes text safe for a terminal and a line: what is not printable
// becomes a Go escape, and a backslash is doubled so that nothing can look
// escaped that is not. Invalid UTF-8 becomes \xNN.
func Escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteString(s[i : i+n])
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// writeJSON writes v indented. encoding/json leaves control characters beyond
// ASCII and those that turn the direction of text; they become \u escapes.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// writeJSONLine writes v as one line, with the same escapes.
func writeJSONLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err = w.Write(escapeJSON(append(b, '\n')))
	return err
}

func escapeJSON(in []byte) []byte {
	var out bytes.Buffer
	for len(in) > 0 {
		r, n := utf8.DecodeRune(in)
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out.Write(in[:n])
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		in = in[n:]
	}
	return out.Bytes()
}

// newTable returns a table in the style of kubectl: no lines, headers in
// capitals, three blanks between columns.
func newTable(w io.Writer, header ...string) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "   "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	row := make(table.Row, len(header))
	for i, h := range header {
		row[i] = h
	}
	t.AppendHeader(row)
	return t
}

const unmapped = "unmapped"

func idText[T ~uint32](id *T) string {
	if id == nil {
		return unmapped
	}
	return strconv.FormatUint(uint64(*id), 10)
}

// maxPodTitle is more than the names of a namespace, a pod and a container can have
// (63, 253 and 63 characters).
const maxPodTitle = 400

// chainText joins the names of a chain from the outermost container inwards.
func chainText(chain []identity.Link) string {
	var names []string
	for _, l := range chain {
		if l.Kind != "node" {
			names = append(names, linkText(l))
		}
	}
	if len(names) == 0 {
		return "(host)"
	}
	return strings.Join(names, " ▸ ")
}

// linkText is a container as people know it: by its pod, or by its runtime and name.
func linkText(l identity.Link) string {
	if l.Pod != nil {
		return Escape(clip(l.Title(), maxPodTitle))
	}
	name := Escape(clip(l.Name, 64))
	if l.Runtime == "" || l.Runtime == "host" {
		return name
	}
	return Escape(l.Runtime) + ":" + name
}

// clip bounds text from inside a sandbox, between runes.
func clip(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

func age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
