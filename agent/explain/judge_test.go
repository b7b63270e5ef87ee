package explain

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// examiner answers with fixed states, and counts how often it is asked.
type examiner struct {
	states map[string]doctor.State
	asked  []string
}

func (e *examiner) CheckSome(_ context.Context, ids []string) (all []doctor.Result) {
	e.asked = append(e.asked, ids...)
	for _, id := range ids {
		all = append(all, doctor.Result{ID: id, State: e.states[id], Found: "found " + id, What: "what"})
	}
	return all
}

func TestJudge(t *testing.T) {
	entry := func(id string, covered bool, all ...[]Check) Match {
		return Match{Entry: Entry{ID: id, Checks: slices.Concat(all...), Covered: covered}}
	}
	matches := []Match{
		entry("fine-covered", true, onNode(doctor.Fail, "ok", "moot"), inside(doctor.Fail, "ok")),
		entry("fine-not-covered", false, onNode(doctor.Fail, "ok")),
		entry("unknown", true, onNode(doctor.Fail, "ok", "unknown")),
		entry("warns-enough", true, onNode(doctor.Warn, "warn")),
		entry("warns-too-little", true, onNode(doctor.Fail, "warn")),
		entry("fails", true, onNode(doctor.Fail, "ok"), inside(doctor.Fail, "fail")),
		{Entry: Entry{ID: "blind", Covered: true, Blind: "nobody looks"}},
	}
	states := map[string]doctor.State{"ok": doctor.OK, "moot": doctor.NotApplicable, "unknown": doctor.Unknown, "warn": doctor.Warn, "fail": doctor.Fail}
	judged := func(node, container Examiner) (out []string) {
		for _, x := range Judge(t.Context(), matches, node, container) {
			out = append(out, x.ID+" "+string(x.Verdict))
		}
		return out
	}
	node, container := &examiner{states: states}, &examiner{states: states}
	want := []string{
		"warns-enough confirmed", "fails confirmed", "fine-not-covered possible", "unknown possible", "warns-too-little possible", "blind possible",
		"fine-covered ruled-out",
	}
	if d := cmp.Diff(want, judged(node, container)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ok", "moot", "unknown", "warn"}, node.asked); d != "" {
		t.Errorf("each check is run once: %s", d)
	}
	// Without the container nothing of it is ruled out.
	want = []string{
		"warns-enough confirmed", "fine-covered possible", "fine-not-covered possible", "unknown possible", "warns-too-little possible", "fails possible", "blind possible",
	}
	if d := cmp.Diff(want, judged(&examiner{states: states}, nil)); d != "" {
		t.Error(d)
	}
	x := Judge(t.Context(), matches[:1], &examiner{states: states}, nil)[0]
	if d := cmp.Diff(Finding{On: OnContainer, ID: "ok", State: NotRun, Says: SaysNothing}, x.Checks[2]); d != "" || x.Note == "" {
		t.Error(d, x.Note)
	}
}
