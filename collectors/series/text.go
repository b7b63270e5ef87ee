package series

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text is a Writer that keeps what it is told as lines of the text format, in
// memory: some 150 bytes a series. The order is that of the telling; a registry
// and its encoder would sort, and check each series anew. Its zero value is empty.
type Text struct {
	families map[*Family]*lines
	errs     []error
}

// lines are one family's, in pieces that need not be moved when there are more.
type lines struct {
	full [][]byte
	text []byte // whole lines
}

// Pieces grow from the first size to the last. With less than room left the next
// line goes to the next one.
const (
	firstPiece = 1 << 10
	lastPiece  = 64 << 10
	room       = 512
)

func (t *Text) of(f *Family) *lines {
	l := t.families[f]
	if l == nil {
		if t.families == nil {
			t.families = map[*Family]*lines{}
		}
		l = &lines{text: make([]byte, 0, firstPiece)}
		t.families[f] = l
	}
	if size := cap(l.text); size-len(l.text) < room {
		l.full = append(l.full, l.text)
		l.text = make([]byte, 0, min(2*size, lastPiece))
	}
	return l
}

// Invalid keeps why a family is missing.
func (t *Text) Invalid(f *Family, err error) {
	t.errs = append(t.errs, fmt.Errorf("%s: %w", f.name, err))
}

// Err is why something is missing; nil if nothing is.
func (t *Text) Err() error { return errors.Join(t.errs...) }

// WriteTo writes the families by name, each with its help and type.
func (t *Text) WriteTo(w io.Writer) (written int64, err error) {
	write := func(b []byte) {
		if err == nil {
			var n int
			n, err = w.Write(b)
			written += int64(n)
		}
	}
	for _, f := range slices.SortedFunc(maps.Keys(t.families), func(a, b *Family) int { return cmp.Compare(a.name, b.name) }) {
		write([]byte(f.head))
		for _, b := range t.families[f].full {
			write(b)
		}
		write(t.families[f].text)
	}
	return written, err
}

// Row writes the labels once for all series of the row.
func (t *Text) Row(names []string, values ...string) Row {
	r := &textRow{to: t}
	for i, name := range names {
		r.labels = appendLabel(r.labels, name, values[i])
	}
	return r
}

type textRow struct {
	to     *Text
	labels []byte
}

// begin adds a name and the labels of the row.
func (r *textRow) begin(b []byte, name, suffix string) []byte {
	return append(append(append(append(b, name...), suffix...), '{'), r.labels...)
}

// Set implements Row.
func (r *textRow) Set(f *Family, v float64, more ...string) {
	l := r.to.of(f)
	b := r.begin(l.text, f.name, "")
	for i, name := range f.more {
		b = appendLabel(b, name, more[i])
	}
	l.text = appendValue(b, v)
}

// Distribution implements Row.
func (r *textRow) Distribution(f *Family, bounds []float64, counts []uint64, count uint64, sum float64) {
	for i, bound := range bounds {
		r.bucket(f, bound, counts[i])
	}
	r.bucket(f, math.Inf(1), count)
	l := r.to.of(f)
	l.text = appendValue(r.begin(l.text, f.name, "_sum"), sum)
	l = r.to.of(f)
	l.text = appendValue(r.begin(l.text, f.name, "_count"), float64(count))
}

func (r *textRow) bucket(f *Family, bound float64, n uint64) {
	l := r.to.of(f)
	b := append(r.begin(l.text, f.name, "_bucket"), `le="`...)
	b = append(appendFloat(b, bound), '"', ',')
	l.text = appendValue(b, float64(n))
}

// appendLabel adds a label and a comma.
func appendLabel(b []byte, name, value string) []byte {
	b = append(append(b, name...), '=', '"')
	if !utf8.ValidString(value) {
		value = strings.ToValidUTF8(value, "\uFFFD")
	}
	for {
		i := strings.IndexAny(value, "\\\"\n")
		if i < 0 {
			break
		}
		b = append(append(b, value[:i]...), '\\')
		if c := value[i]; c == '\n' {
			b = append(b, 'n')
		} else {
			b = append(b, c)
		}
		value = value[i+1:]
	}
	return append(append(b, value...), '"', ',')
}

// appendValue ends the labels, whose last comma goes, and the line.
func appendValue(b []byte, v float64) []byte {
	switch b[len(b)-1] {
	case ',':
		b[len(b)-1] = '}'
	case '{':
		b = b[:len(b)-1]
	}
	return append(appendFloat(append(b, ' '), v), '\n')
}

// appendFloat writes a number as client_golang's encoder does.
func appendFloat(b []byte, v float64) []byte {
	switch n := int64(v); {
	case float64(n) == v && -1e6 < n && n < 1e6: // the same, in a tenth of the time
		return strconv.AppendInt(b, n, 10)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}
