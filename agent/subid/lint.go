package subid

import (
	"fmt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// SystemdRanges is how systemd divides ids (docs/UIDS-GIDS.md of its source),
// as far as it is meant for somebody. Containers is left out: it is where
// leases come from, and who has what there is seen in the live user namespaces.
func SystemdRanges() []Claim {
	return []Claim{
		{Range{0, 1000}, "systemd: root and system users"},
		{Range{1000, 59001}, "systemd: regular users"},
		{Range{60001, 5535}, "systemd: homed, map users, dynamic users, nobody and 65535"},
		{Range{2147352576, 65536}, "systemd: foreign ids"},
		{Range{identity.NoID, 1}, "the kernel: no id"},
	}
}

// Borders of the plan.
const (
	useraddEnd   = 600100001  // one past SUB_UID_MAX of shadow's login.defs
	containerEnd = 1879048192 // one past what systemd leaves to containers
	signedEnd    = 1 << 31    // from here on, ids are negative to some
	lastBlock    = 4294901760 // holds 4294967295, for which the kernel refuses a map
)

// Severity of a finding.
type Severity string

const (
	SeverityError   Severity = "error"   // containers will fail, or share ids
	SeverityWarning Severity = "warning" // it works until something else is installed
)

// Finding is one thing wrong with a plan, with the way to mend it.
type Finding struct {
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Fix      string   `json:"fix"`
}

// PlanRange is one range of a plan: the agent's, or kubelet's.
type PlanRange struct {
	Name  string
	Range Range
}

// maxFindings bounds the overlaps told of one range: a table of users can have
// thousands in it.
const maxFindings = 20

// Lint checks ranges against each other, against systemd's table and against
// what others hold.
func Lint(plan []PlanRange, others []Claim) []Finding {
	var out []Finding
	for i, p := range plan {
		out = append(out, lintOne(p)...)
		if p.Range.Validate() != nil {
			continue
		}
		for _, q := range plan[i+1:] {
			if p.Range.Overlaps(q.Range) {
				out = append(out, Finding{SeverityError, fmt.Sprintf("%s %s overlaps %s %s", p.Name, p.Range, q.Name, q.Range),
					"move one of them; drain the node first if it is kubelet's"})
			}
		}
		out = append(out, lintOverlaps(p, append(SystemdRanges(), others...))...)
	}
	return out
}

func lintOne(p PlanRange) []Finding {
	var out []Finding
	add := func(s Severity, fix, format string, args ...any) {
		out = append(out, Finding{s, p.Name + " " + p.Range.String() + " " + fmt.Sprintf(format, args...), fix})
	}
	r := p.Range
	if err := r.Validate(); err != nil {
		add(SeverityError, "write start:count, as in "+Defaults().Range.String(), "is no range of ids")
		return out
	}
	if r.Start%BlockSize != 0 {
		add(SeverityError, fmt.Sprintf("start at %d", nextBlock(r.Start)), "does not start at a multiple of %d", BlockSize)
	}
	if r.Count%BlockSize != 0 {
		add(SeverityError, fmt.Sprintf("make the count a multiple of %d", BlockSize), "is not made of whole blocks of %d", BlockSize)
	}
	if r.End() > lastBlock {
		add(SeverityError, fmt.Sprintf("end at %d", uint32(lastBlock)), "holds the last block %d, whose map the kernel refuses with EINVAL", uint32(lastBlock))
	}
	if r.Start < useraddEnd {
		add(SeverityWarning, "start at 600113152 or above", "starts where useradd gives ranges to new users (up to 600100000)")
	}
	switch {
	case r.End() > signedEnd:
		add(SeverityWarning, "end at 2147352576 or below", "passes 2^31: devpts and others take such ids for negative numbers")
	case r.End() > containerEnd:
		add(SeverityWarning, "end at 1879048192 or below", "passes 1879048191, the last id that systemd leaves to containers")
	}
	return out
}

func lintOverlaps(p PlanRange, others []Claim) []Finding {
	var out []Finding
	more := 0
	for _, c := range others {
		switch {
		case !p.Range.Overlaps(c.Range):
		case len(out) < maxFindings:
			out = append(out, Finding{SeverityError, fmt.Sprintf("%s %s overlaps %s of %s", p.Name, p.Range, c.Range, c.Source),
				"move the range, or take that away"})
		default:
			more++
		}
	}
	if more > 0 {
		out = append(out, Finding{SeverityError, fmt.Sprintf("%s %s overlaps %d more", p.Name, p.Range, more), "move the range"})
	}
	return out
}

func nextBlock(id uint32) uint64 { return (uint64(id) + BlockSize - 1) / BlockSize * BlockSize }
