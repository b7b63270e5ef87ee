package explain

import (
	"slices"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// Entry is one known error.
type Entry struct {
	ID    string // kebab-case; never changes
	Error string // as programs print it
	// Match are the patterns of its texts: phrases in order, with " … " between
	// those that other text may part. See compile.
	Match  []string
	Cause  string
	Fix    string
	Seen   []string // where upstream met it
	Checks []Check
	// Covered: the checks look at every cause, so that it is ruled out when all
	// are fine.
	Covered bool
	// Blind says why no check can tell.
	Blind string
}

// Check is a check of package doctor that tells of an entry's cause.
type Check struct {
	On       string       // OnNode or OnContainer
	ID       string       // doctor's
	Confirms doctor.State // the mildest state that confirms: Warn or Fail
}

// Where a check looks.
const (
	OnNode      = "node"
	OnContainer = "container"
)

func onNode(confirms doctor.State, ids ...string) []Check { return checks(OnNode, confirms, ids) }
func inside(confirms doctor.State, ids ...string) []Check { return checks(OnContainer, confirms, ids) }

func checks(on string, confirms doctor.State, ids []string) (all []Check) {
	for _, id := range ids {
		all = append(all, Check{On: on, ID: id, Confirms: confirms})
	}
	return all
}

// Catalogue returns all entries.
func Catalogue() []Entry {
	return slices.Concat(mapEntries(), idEntries(), namespaceEntries(), mountEntries(), deviceEntries(), refusedEntries(),
		cgroupEntries(), delegationEntries(), kubeletEntries(), limitEntries())
}
