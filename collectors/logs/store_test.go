package logs

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/collectors/identity"
)

func line(container, body string, at int64, outer ...string) identity.LogLine {
	l := identity.LogLine{Container: container, Stream: identity.Stdout, Body: []byte(body), Time: time.Unix(at, 0)}
	for _, o := range outer {
		l.Chain = append(l.Chain, identity.Link{ID: o})
	}
	return l
}

func bodies(lines []identity.LogLine) (all []string) {
	for _, l := range lines {
		all = append(all, string(l.Body))
	}
	return all
}

func TestStore(t *testing.T) {
	s := newStore(5*(overhead+1), 12*(overhead+1))
	put := func(id, body string, at int64, outer ...string) {
		s.put([]identity.LogLine{line(id, body, at, outer...)})
	}
	for i := range 10 {
		put("a", fmt.Sprint(i), int64(i), "web")
	}
	got, last, more := s.lines(Query{Container: "a"})
	if diff := cmp.Diff([]string{"5", "6", "7", "8", "9"}, bodies(got)); diff != "" {
		t.Error(diff)
	}
	select {
	case <-more:
		t.Error("more is told of before there is")
	default:
	}
	put("b", "x", 6)
	<-more
	if got, _, _ = s.lines(Query{After: last}); len(got) != 1 || got[0].Container != "b" {
		t.Errorf("after %d: %v", last, bodies(got))
	}
	if got, _, _ = s.lines(Query{Container: "web", Since: time.Unix(8, 0)}); len(got) != 2 {
		t.Errorf("inside web since 8: %v", bodies(got))
	}
	if got, _, _ = s.lines(Query{Stream: identity.Stderr}); len(got) != 0 {
		t.Errorf("stderr: %v", bodies(got))
	}
	if got, _, _ = s.lines(Query{}); bodies(got)[2] != "x" && bodies(got)[1] != "x" {
		t.Errorf("not by time: %v", bodies(got))
	}
	errs := line("a", "e", 5)
	errs.Stream = identity.Stderr
	s.put([]identity.LogLine{errs})
	for i := range 5 {
		put("a", fmt.Sprint(i), int64(i))
	}
	if got, _, _ = s.lines(Query{Container: "a", Stream: identity.Stderr}); len(got) != 1 {
		t.Error("what is written to stdout takes the place of stderr")
	}
	for i := range 5 {
		put("c", "c", int64(i))
		put("d", "d", int64(i))
	}
	if s.bytes > s.all {
		t.Errorf("%d bytes are kept, more than %d", s.bytes, s.all)
	}
	if got, _, _ = s.lines(Query{Container: "a"}); len(got) != 0 {
		t.Error("who was silent for longest is kept")
	}
	if got, _, _ = s.lines(Query{Container: "d"}); len(got) != 5 {
		t.Error("who wrote last is not kept")
	}
}

func TestRedaction(t *testing.T) {
	r, err := ParseRedaction([]string{`password=\S+`, `[0-9]{16}`})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(r.apply([]byte("a password=x b 1234567812345678\xff"))); got != "a [redacted] b [redacted]\xff" {
		t.Error(got)
	}
	for _, bad := range []string{"(", "x*", `(?=a)`} {
		if _, err := ParseRedaction([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
