package files

import (
	"bytes"
	"strings"
	"testing"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		format evidence.LogFormat
		line   string
		want   string
	}{
		{evidence.LogK8s, stamp + " stdout F hello world", "1 hello world"},
		{evidence.LogK8s, stamp + " stderr P half", `2 half\`},
		{evidence.LogK8s, stamp + " stdout F:x ", "1 "},
		{evidence.LogK8s, stamp + " stdout F", "1 "},
		{evidence.LogK8s, "2026-05-04T03:02:01+02:00 stdout F \x1b[31mred\x00", "1 \x1b[31mred\x00"},
		{evidence.LogK8s, stamp + " stdin F x", ""},
		{evidence.LogK8s, stamp + " stdout X x", ""},
		{evidence.LogK8s, stamp + " stdout", ""},
		{evidence.LogK8s, "yesterday stdout F x", ""},
		{evidence.LogK8s, "", ""},
		{evidence.LogJSON, `{"log":"hello\n","stream":"stdout","time":"` + stamp + `"}`, "1 hello"},
		{evidence.LogJSON, `{"log":"half","stream":"stderr","attrs":{"a":"b"},"time":"` + stamp + `"}`, `2 half\`},
		{evidence.LogJSON, `{"log":"\u0000\n","stream":"stdout","time":"` + stamp + `"}`, "1 \x00"},
		{evidence.LogJSON, `{"stream":"stdout","time":"` + stamp + `"}`, ""},
		{evidence.LogJSON, `{"log":"x","stream":"stdout"}`, ""},
		{evidence.LogJSON, `{"log":"x","stream":"x","time":"` + stamp + `"}`, ""},
		{evidence.LogJSON, `[]`, ""},
	} {
		var l list
		if e, ok := parserOf(tc.format)([]byte(tc.line)); ok {
			l.entry(e, 0)
		}
		if got := strings.Join(l.lines, ""); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.line, got, tc.want)
		}
	}
}

func fuzz(f *testing.F, format evidence.LogFormat, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	parse := parserOf(format)
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		e, ok := parse(line)
		if !bytes.Equal(line, before) {
			t.Fatal("the line was changed")
		}
		if !ok {
			return
		}
		if e.fd != bpf.LogStdout && e.fd != bpf.LogStderr || e.time.IsZero() && format == evidence.LogJSON || len(e.text) > 3*len(line) {
			t.Errorf("%q: %+v", line, e)
		}
	})
}

func FuzzK8s(f *testing.F) {
	fuzz(f, evidence.LogK8s, stamp+" stdout F x", stamp+" stderr P:y \x00", "  F ", stamp+" stdout F")
}

func FuzzJSON(f *testing.F) {
	fuzz(f, evidence.LogJSON, `{"log":"a\n","stream":"stdout","time":"`+stamp+`"}`, `{"log":null}`, `{"LOG":"\ud800","stream":"stderr","time":"`+stamp+`"}`)
}
