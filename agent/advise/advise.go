package advise

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// Verdict is what a mode comes to on a node.
type Verdict string

// Recommended is the best that works; Fit works, too; Unproven works for all that
// is known, but not all is; Unfit does not; Special is a matter of the tenants, not
// of the node; Never is advised against everywhere.
const (
	Recommended Verdict = "recommended"
	Fit         Verdict = "fit"
	Unproven    Verdict = "unproven"
	Unfit       Verdict = "unfit"
	Special     Verdict = "special"
	Never       Verdict = "never"
)

// Cluster is what an API server told. The zero value: none was asked.
type Cluster struct {
	Version string // such as v1.36.2
	// Handlers are of its RuntimeClasses, by their names. Both are text of others.
	Handlers map[string]string
	Err      error // why it was not told
}

// Reason is what a check found.
type Reason struct {
	Check string       `json:"check"`
	State doctor.State `json:"state"`
	Found string       `json:"found"`
	Fix   string       `json:"fix,omitempty"`
}

// ModeHere is a mode on this node.
type ModeHere struct {
	Mode
	Verdict Verdict  `json:"verdict"`
	Reasons []Reason `json:"reasons"`         // for the verdict
	First   []Reason `json:"first,omitempty"` // what to mend, or to know, before it is used
}

// ClaimHere is a claim on this node. State is empty where nothing is checked.
type ClaimHere struct {
	Claim
	State   doctor.State `json:"state,omitempty"`
	Reasons []Reason     `json:"reasons,omitempty"`
}

// Report is the advice.
type Report struct {
	Workload    Workload    `json:"workload"`
	Recommended *ModeHere   `json:"recommended"`       // nil: none works here
	Nearest     *ModeHere   `json:"nearest,omitempty"` // then the one that lacks least
	Changes     []string    `json:"changes"`           // to the manifest of the workload
	Modes       []ModeHere  `json:"modes"`             // the recommended one first
	Claims      []ClaimHere `json:"claims"`
}

// Advise judges a node by the results of doctor's checks of it.
func Advise(w Workload, node []doctor.Result, c Cluster) Report {
	found := map[string]doctor.Result{}
	for _, r := range append(slices.Clone(node), clusterVersion(c)) {
		found[r.ID] = r
	}
	r := Report{Workload: w, Changes: []string{}}
	best := -1
	for _, m := range modes {
		h := m.here(found, c)
		if i := slices.Index(ranks[w], m.ID); i >= 0 && h.Verdict != Unfit && (best < 0 || i < best) {
			best = i
		}
		r.Modes = append(r.Modes, h)
	}
	if best >= 0 {
		i := slices.IndexFunc(r.Modes, func(m ModeHere) bool { return m.ID == ranks[w][best] })
		m := r.Modes[i]
		m.Verdict = Recommended
		r.Modes = slices.Insert(slices.Delete(r.Modes, i, i+1), 0, m)
		r.Recommended, r.Changes = &r.Modes[0], append(r.Changes, m.changes...)
	}
	if best < 0 {
		r.Nearest = r.nearest()
	}
	for _, k := range claims {
		if k.Only == "" || k.Only == w {
			r.Claims = append(r.Claims, k.here(found))
		}
	}
	return r
}

// nearest is the mode with the fewest troubles; of two with as many, the better one.
func (r Report) nearest() (near *ModeHere) {
	for _, id := range ranks[r.Workload] {
		i := slices.IndexFunc(r.Modes, func(m ModeHere) bool { return m.ID == id })
		if near == nil || len(r.Modes[i].Reasons) < len(near.Reasons) {
			near = &r.Modes[i]
		}
	}
	return near
}

func (m Mode) here(found map[string]doctor.Result, c Cluster) ModeHere {
	h := ModeHere{Mode: m, Verdict: m.apart, Reasons: []Reason{}}
	if m.apart != "" {
		for name, handler := range c.Handlers {
			if slices.ContainsFunc(m.handler, func(s string) bool { return strings.Contains(handler, s) }) {
				h.Reasons = append(h.Reasons, Reason{Check: "runtimeclass", State: doctor.OK, Found: fmt.Sprintf("%s, handler %s", name, handler)})
			}
		}
		slices.SortFunc(h.Reasons, func(a, b Reason) int { return strings.Compare(a.Found, b.Found) })
		return h
	}
	h.Verdict = Fit
	for _, n := range m.needs {
		verdict, reasons := n.judge(found)
		switch {
		case verdict == Unfit && h.Verdict != Unfit, verdict == Unproven && h.Verdict == Fit:
			h.Verdict, h.Reasons = verdict, reasons
		case verdict == h.Verdict:
			h.Reasons = append(h.Reasons, reasons...)
		}
	}
	for _, id := range m.mend {
		if r, ok := found[id]; ok && (r.State == doctor.Fail || r.State == doctor.Warn) {
			h.First = append(h.First, reason(r))
		}
	}
	return h
}

// judge says whether one of the checks found what the mode needs.
func (n need) judge(found map[string]doctor.Result) (Verdict, []Reason) {
	var bad, open []Reason
	for _, id := range n.any {
		r, ok := found[id]
		switch {
		case !ok:
			open = append(open, Reason{Check: id, State: doctor.Unknown, Found: "not looked at"})
		case r.State == doctor.OK, r.State == doctor.Warn && n.warn, r.State == doctor.NotApplicable && n.moot:
			return Fit, []Reason{reason(r)}
		case r.State == doctor.Fail, r.State == doctor.Warn:
			bad = append(bad, reason(r))
		default:
			open = append(open, reason(r))
		}
	}
	if len(bad) > 0 {
		return Unfit, bad
	}
	return Unproven, open
}

func reason(r doctor.Result) Reason { return Reason{r.ID, r.State, r.Found, r.Fix} }

func (k Claim) here(found map[string]doctor.Result) ClaimHere {
	h := ClaimHere{Claim: k}
	for _, s := range doctor.States() { // the worst first
		for _, id := range k.Checks {
			if r, ok := found[id]; ok && r.State == s {
				if h.State == "" {
					h.State = s
				}
				h.Reasons = append(h.Reasons, reason(r))
			}
		}
	}
	return h
}

// clusterVersion is a check of the API server: it, and the kubelets with it, must
// know hostUsers: false.
func clusterVersion(c Cluster) doctor.Result {
	r := doctor.Result{
		ID: clusterCheck, What: "Kubernetes lets pods have user namespaces", State: doctor.Unknown, Found: "no API server was asked: see --kubeconfig",
		Why: "hostUsers: false is on by default since 1.33; from 1.30 on it is there as the feature gate UserNamespacesSupport",
	}
	if c.Err != nil {
		r.Found = c.Err.Error()
		return r
	}
	if c.Version == "" {
		return r
	}
	r.Found = c.Version
	major, minor, ok := parseVersion(c.Version)
	switch {
	case !ok:
		r.Found = fmt.Sprintf("version %q", c.Version)
	case major > 1 || minor >= 33:
		r.State = doctor.OK
	case minor >= 30:
		r.State, r.Fix = doctor.Warn, "upgrade to 1.33, or turn on the feature gate UserNamespacesSupport of the API server and kubelets"
	default:
		r.State, r.Fix = doctor.Fail, "upgrade to 1.33"
	}
	return r
}

func parseVersion(s string) (major, minor int, ok bool) {
	left, right, found := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	right, _, _ = strings.Cut(right, ".")
	major, err1 := strconv.Atoi(left)
	minor, err2 := strconv.Atoi(strings.TrimSuffix(right, "+"))
	return major, minor, found && err1 == nil && err2 == nil
}
