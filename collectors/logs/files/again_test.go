package files

import (
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/bpf"
)

// TestAgain: a sandbox that was not to be read for a while is read on where it was left,
// however long that was, and nothing is told twice.
func TestAgain(t *testing.T) {
	for name, long := range map[string]time.Duration{"soon": lastTurns + time.Second, "late": time.Hour} {
		t.Run(name, func(t *testing.T) {
			r := newSource(t, bpf.LogInside)
			short := strings.Replace(someID, "a", "f", 1) // of a container that nobody knows
			f, unknown := r.log(someID), r.log(short)
			r.put(8, someID[:12], 100, 200)
			write := func(text string) {
				if _, err := f.WriteString(line("stdout", "F", text)); err != nil {
					t.Fatal(err)
				}
			}
			all := func() (n int) {
				for b := range r.text {
					n += len(r.of(b, bpf.LogStdout))
				}
				return n
			}
			write("one")
			if _, err := unknown.WriteString(line("stdout", "F", "short")); err != nil {
				t.Fatal(err)
			}
			r.until("both lines", func() bool { return all() == len("one\nshort\n") })

			if err := r.s.SelectAll(0); err != nil {
				t.Fatal(err)
			}
			r.until("nobody is selected", func() bool {
				for _, b := range r.s.boxes {
					b.mu.Lock()
					ended := !b.ended.IsZero()
					b.mu.Unlock()
					if !ended {
						return false
					}
				}
				return true
			})
			for _, b := range r.s.boxes { // time goes by
				b.mu.Lock()
				b.ended = b.ended.Add(-long)
				b.mu.Unlock()
			}
			r.s.workers.Wait()
			again := time.Now().Add(2 * viewEvery)
			r.until("another look", func() bool { return time.Now().After(again) })

			write("two")
			if err := r.s.SelectAll(bpf.LogInside); err != nil {
				t.Fatal(err)
			}
			r.until("the next line", func() bool { return strings.HasSuffix(r.of(inner, bpf.LogStdout), "two\n") })
			again = time.Now().Add(wait + time.Second)
			r.until("what should not come", func() bool { return time.Now().After(again) })
			if got := r.of(inner, bpf.LogStdout); got != "one\ntwo\n" || all() != len("one\ntwo\nshort\n") {
				t.Errorf("told %q, %d bytes in all", got, all())
			}
			if rows, err := r.s.Streams(); err != nil || len(rows[inner]) == 0 || rows[inner][0].Bytes != uint64(len("one\ntwo\n")) {
				t.Errorf("streams %+v: %v", rows, err)
			}
		})
	}
}
