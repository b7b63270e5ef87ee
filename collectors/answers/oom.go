package answers

import (
	"context"
	"slices"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// OOM answers who was killed by the OOM killer since a time, and at whose limit,
// the latest first; with a chain, of that container and those inside it. What
// lies in the kernel's ring is heard first.
func (a *Answers) OOM(ctx context.Context, chain string, since time.Time) ([]identity.OOMAnswer, error) {
	if err := a.Tracker.Sync(ctx); err != nil {
		return nil, err
	}
	only := ""
	if chain != "" {
		c, err := a.Select(chain)
		if err != nil {
			return nil, err
		}
		only = c.ID
	}
	out := []identity.OOMAnswer{}
	if a.History == nil {
		return out, nil
	}
	var records []identity.OOMRecord
	if err := a.History.OOMs(since, func(r identity.OOMRecord) { records = append(records, r) }); err != nil {
		return nil, err
	}
	slices.SortFunc(records, func(x, y identity.OOMRecord) int { return y.Time.Compare(x.Time) })
	// In pieces: containers that are gone are read from the disk.
	for part := range slices.Chunk(records, 64) {
		a.Tracker.View(func(t *identity.Table, _ map[string]int) {
			for _, r := range part {
				if k := identity.DescribeOOM(r, a.node(t), lookup{a, t}); only == "" || k.About(only) {
					out = append(out, k)
				}
			}
		})
	}
	return out, nil
}
