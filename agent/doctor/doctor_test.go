package doctor

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type none struct{}

func TestRunAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		checks := []check[none]{
			{id: "good", fix: "unused", look: func(none, context.Context) finding { return okf("fine") }},
			{id: "breaks", fix: "mend", look: func(none, context.Context) finding { panic("\xff at the disco") }},
			{id: "hangs", fix: "wait", look: func(none, context.Context) finding { <-release; return okf("late") }},
			{id: "own", fix: "general", look: func(none, context.Context) finding { return warnf("poor").withFix("special") }},
			{id: "long", look: func(none, context.Context) finding { return failf("%s", strings.Repeat("ä", 2*maxFound)) }},
		}
		var h hung
		want := []Result{
			{ID: "good", State: OK, Found: "fine"},
			{ID: "breaks", State: Unknown, Found: `the check broke: \xff at the disco`, Fix: "mend"},
			{ID: "hangs", State: Unknown, Found: "no answer within 3s", Fix: "wait"},
			{ID: "own", State: Warn, Found: "poor", Fix: "special"},
			{ID: "long", State: Fail, Found: strings.Repeat("ä", maxFound) + "…"},
		}
		got := runAll(t.Context(), none{}, checks, 3*time.Second, &h)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("first run (-want +got):\n%s", diff)
		}
		if n := Failed(got); n != 1 {
			t.Errorf("%d fail, want 1", n)
		}
		// What hangs is not started again, and is when it has returned.
		want[2].Found = "the check hangs since an earlier run"
		if diff := cmp.Diff(want, runAll(t.Context(), none{}, checks, 3*time.Second, &h)); diff != "" {
			t.Errorf("second run (-want +got):\n%s", diff)
		}
		close(release)
		synctest.Wait()
		want[2] = Result{ID: "hangs", State: OK, Found: "late"}
		if diff := cmp.Diff(want, runAll(t.Context(), none{}, checks, 3*time.Second, &h)); diff != "" {
			t.Errorf("third run (-want +got):\n%s", diff)
		}
	})
}

// TestTexts: every check has an id fit for a label, and says why and how.
func TestTexts(t *testing.T) {
	id := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	one := func(seen map[string]bool, texts ...string) {
		if !id.MatchString(texts[0]) || seen[texts[0]] {
			t.Errorf("id %q: taken or not fit", texts[0])
		}
		seen[texts[0]] = true
		for _, s := range texts[1:] {
			if s == "" || strings.HasSuffix(s, ".") || strings.Contains(s, "\n") {
				t.Errorf("check %s: text %q", texts[0], s)
			}
		}
	}
	seen := map[string]bool{}
	for _, c := range nodeChecks() {
		one(seen, c.id, c.what, c.why, c.fix)
	}
	if len(seen) < 25 {
		t.Errorf("%d checks of a node, want 25 at least", len(seen))
	}
	seen = map[string]bool{}
	for _, c := range containerChecks() {
		one(seen, c.id, c.what, c.why, c.fix)
	}
}

func TestNamed(t *testing.T) {
	var all []string
	for i := range 9 {
		all = append(all, fmt.Sprint(i))
	}
	if got := named(all); got != "0, 1, 2, 3, 4, 5, … 3 more" {
		t.Errorf("got %q", got)
	}
}
