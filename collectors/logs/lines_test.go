package logs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

// written feeds a stream pieces and returns its lines, with a mark at parts.
func written(s *stream, pieces ...string) (lines []string) {
	for i, p := range pieces {
		s.add(&bpf.Log{Data: []byte(p), Time: uint64(i), Dropped: s.seen}, func(p part, _ writer) { lines = append(lines, text(p)) })
	}
	return lines
}

func text(p part) string {
	s := string(p.body)
	if p.partial {
		s += "…"
	}
	if p.dropped.Bytes > 0 {
		s = fmt.Sprintf("[%d/%d]%s", p.dropped.Records, p.dropped.Bytes, s)
	}
	return s
}

// TestSplits: however a text is cut into writes, its lines are the same.
func TestSplits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var all strings.Builder
		for range r.IntN(30) {
			n := r.IntN(100)
			if r.IntN(10) == 0 {
				n = r.IntN(3 * MaxLine)
			}
			for range n {
				all.WriteByte(byte(r.IntN(256))) // also line feeds, and what is no UTF-8
			}
			all.WriteByte('\n')
		}
		whole := written(&stream{}, all.String())
		var pieces []string
		for rest := all.String(); rest != ""; {
			n := 1 + r.IntN(min(len(rest), 1+r.IntN(20000)))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if diff := cmp.Diff(whole, written(&stream{}, pieces...)); diff != "" {
			t.Fatalf("cut otherwise, the lines differ: %.2000s", diff)
		}
		var back bytes.Buffer
		for _, l := range whole {
			if l, cut := strings.CutSuffix(l, "…"); cut {
				back.WriteString(l)
			} else {
				back.WriteString(l + "\n")
			}
		}
		if back.String() != all.String() {
			t.Fatal("put together, the lines are not what was written")
		}
	}
}

func TestLongLines(t *testing.T) {
	a := strings.Repeat("a", MaxLine)
	if got := written(&stream{}, a+"\n"); len(got) != 1 || got[0] != a {
		t.Errorf("a line of MaxLine has %d parts", len(got))
	}
	if diff := cmp.Diff([]string{a + "…", "b"}, written(&stream{}, a, "b\n")); diff != "" {
		t.Errorf("%.500s", diff)
	}
}

func TestLosses(t *testing.T) {
	s, got := &stream{}, []string{}
	emit := func(p part, _ writer) { got = append(got, text(p)) }
	add := func(data string, records, bytes uint64) {
		s.add(&bpf.Log{Data: []byte(data), Dropped: bpf.LogDrops{Records: records, Bytes: bytes}}, emit)
	}
	add("one\ntw", 0, 0)
	add("three\n", 2, 300) // what was lost was the end of "two" and the beginning of this
	add("four\nfi", 2, 300)
	s.flush(emit)
	add("ve\n", 2, 300)
	s.end(bpf.LogDrops{Records: 3, Bytes: 310}, emit)
	if diff := cmp.Diff([]string{"one", "tw…", "[2/300]three", "four", "fi…", "ve", "[1/10]…"}, got); diff != "" {
		t.Error(diff)
	}
	if s.seq != 7 {
		t.Errorf("seq is %d", s.seq)
	}
}
