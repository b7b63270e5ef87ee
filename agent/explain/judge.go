package explain

import (
	"context"
	"slices"
	"sort"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// Verdict is what the checks say of an entry's cause.
type Verdict string

// Confirmed: a check finds the cause here. Possible: no check does, or none can
// tell. RuledOut: the checks look at every cause and find none.
const (
	Confirmed Verdict = "confirmed"
	Possible  Verdict = "possible"
	RuledOut  Verdict = "ruled-out"
)

var verdicts = []Verdict{Confirmed, Possible, RuledOut}

// Examiner runs checks of package doctor: a Node and a Container do.
type Examiner interface {
	CheckSome(ctx context.Context, ids []string) []doctor.Result
}

// Explanation is a match with what the checks say.
type Explanation struct {
	ID      string    `json:"id"`
	Error   string    `json:"error"`
	Verdict Verdict   `json:"verdict"`
	Cause   string    `json:"cause"`
	Fix     string    `json:"fix"`
	Seen    []string  `json:"seen"`
	Line    int       `json:"line"` // where it is in the text
	Text    string    `json:"text"`
	Checks  []Finding `json:"checks"`
	Note    string    `json:"note,omitempty"` // why the checks cannot tell
}

// Finding is the result of one check. Found may be hostile, as doctor says.
type Finding struct {
	On    string       `json:"on"`
	ID    string       `json:"id"`
	What  string       `json:"what"`
	State doctor.State `json:"state"` // NotRun, or doctor's
	Found string       `json:"found"`
	Says  string       `json:"says"` // confirms, fine, nothing
}

// NotRun is the state of a check that nobody asked for.
const NotRun doctor.State = "not-run"

// What a finding says of the cause.
const (
	SaysConfirms = "confirms"
	SaysFine     = "fine"
	SaysNothing  = "nothing"
)

// Judge runs the checks of the matches, each once, and returns the matches with
// what they say: confirmed ones first, ruled out ones last, else the more
// specific first. A nil examiner is one that was not asked for.
func Judge(ctx context.Context, matches []Match, node, container Examiner) []Explanation {
	results := map[Check]doctor.Result{}
	for _, side := range []struct {
		on string
		by Examiner
	}{{OnNode, node}, {OnContainer, container}} {
		var ids []string
		for _, m := range matches {
			for _, c := range m.Entry.Checks {
				if c.On == side.on && !slices.Contains(ids, c.ID) {
					ids = append(ids, c.ID)
				}
			}
		}
		if side.by == nil || len(ids) == 0 {
			continue
		}
		for _, r := range side.by.CheckSome(ctx, ids) {
			results[Check{On: side.on, ID: r.ID}] = r
		}
	}
	out := make([]Explanation, 0, len(matches))
	for _, m := range matches {
		out = append(out, explain(m, results))
	}
	sort.SliceStable(out, func(i, j int) bool {
		return slices.Index(verdicts, out[i].Verdict) < slices.Index(verdicts, out[j].Verdict)
	})
	return out
}

func explain(m Match, results map[Check]doctor.Result) Explanation {
	e := m.Entry
	x := Explanation{
		ID: e.ID, Error: e.Error, Cause: e.Cause, Fix: e.Fix, Seen: e.Seen, Line: m.Line, Text: m.Text,
		Checks: []Finding{}, Verdict: Possible,
	}
	if e.Blind != "" {
		x.Note = "no check can tell: " + e.Blind
	}
	fine := 0
	for _, c := range e.Checks {
		f := Finding{On: c.On, ID: c.ID, Says: SaysNothing}
		r, run := results[Check{On: c.On, ID: c.ID}]
		if !run {
			f.State = NotRun
			x.Checks = append(x.Checks, f)
			continue
		}
		f.What, f.State, f.Found = r.What, r.State, r.Found
		switch {
		case r.State == doctor.Fail, r.State == doctor.Warn && c.Confirms == doctor.Warn:
			f.Says = SaysConfirms
			x.Verdict = Confirmed
		case r.State == doctor.OK, r.State == doctor.NotApplicable:
			f.Says = SaysFine
			fine++
		}
		x.Checks = append(x.Checks, f)
	}
	if x.Verdict != Confirmed && e.Covered && len(e.Checks) > 0 && fine == len(e.Checks) {
		x.Verdict = RuledOut
	}
	if slices.ContainsFunc(x.Checks, func(f Finding) bool { return f.State == NotRun }) && x.Verdict != Confirmed {
		x.Note = "what a container has was not looked at: name it with --in CHAIN"
	}
	return x
}
