package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eyas-agent/eyas/test/storm/account"
)

const (
	// MaxExtents is the kernel's UID_GID_MAP_MAX_EXTENTS, from Linux 4.15.
	MaxExtents = 340
	// mapBytes is the largest text one write may have: map_write in
	// kernel/user_namespace.c refuses a whole page and more.
	mapBytes = 4095
	// rangeSize is the number of ids a container directly under the host gets.
	// Each deeper map loses some thousands to its gaps, over 33 levels.
	rangeSize = 1 << 24
	// Ids above 2^31 are legal, and break who keeps them in a signed int.
	uidBase = 1_000_000_000
	gidBase = 2_200_000_000
)

// Range is a run of ids inside one namespace.
type Range struct{ Start, Count uint32 }

// hostRange is the ids the container tree number n (from 0) may use of the
// host's. Past 64 trees they repeat, which the kernel does not mind.
func hostRange(base uint32, n int) []Range {
	return []Range{{Start: base + uint32(n%64)*rangeSize, Count: rangeSize}}
}

// insides are the ids that exist in a namespace with this map.
func insides(extents []account.Extent) []Range {
	var ranges []Range
	for _, e := range extents {
		ranges = append(ranges, Range{Start: e.Inside, Count: e.Count})
	}
	return ranges
}

// derive makes a map of n extents onto ids of the parent. The kernel wants each
// extent to lie in one extent of the parent's map, so all come from the parent's
// largest range: n-1 small ones in descending order with holes between, so that
// neither side is sorted nor whole, and the remainder as the last.
func derive(parent []Range, n int) ([]account.Extent, error) {
	if n < 1 || n > MaxExtents || len(parent) == 0 {
		return nil, fmt.Errorf("plan id map: %d extents onto %d ranges", n, len(parent))
	}
	from := slices.MaxFunc(parent, func(a, b Range) int { return int(int64(a.Count) - int64(b.Count)) })
	stride, count := uint32(1000), uint32(3)
	if n > 100 { // one page must hold them all: short numbers
		stride, count = 2, 1
	}
	small := uint32(n - 1)
	if from.Count < small*stride+2 {
		return nil, fmt.Errorf("plan id map: %d ids cannot hold %d extents", from.Count, n)
	}
	extents := make([]account.Extent, 0, n)
	inside := uint32(0)
	for i := range small {
		if n <= 100 && i%4 == 3 {
			inside += 7
		}
		extents = append(extents, account.Extent{Inside: inside, Outside: from.Start + (small-1-i)*stride, Count: count})
		inside += count
	}
	return append(extents, account.Extent{Inside: inside, Outside: from.Start + small*stride, Count: from.Count - small*stride}), nil
}

// everyID is the map of the host's own user namespace, as the kernel prints it:
// the id 4294967295 means "none" and is in no map.
func everyID() []account.Extent { return []account.Extent{{Count: 1<<32 - 1}} }

// compose carries a map through that of its parent, so that the outside ids are
// the host's. Every extent must lie in one extent of the parent.
func compose(extents, parent []account.Extent) ([]account.Extent, error) {
	composed := make([]account.Extent, 0, len(extents))
	for _, e := range extents {
		in := slices.IndexFunc(parent, func(p account.Extent) bool {
			return e.Outside >= p.Inside && uint64(e.Outside)+uint64(e.Count) <= uint64(p.Inside)+uint64(p.Count)
		})
		if in < 0 {
			return nil, fmt.Errorf("plan id map: extent %+v lies in no extent of its parent", e)
		}
		e.Outside = parent[in].Outside + e.Outside - parent[in].Inside
		composed = append(composed, e)
	}
	return composed, nil
}

// MapText is the one write that sets a map.
func MapText(extents []account.Extent) (string, error) {
	var text strings.Builder
	for _, e := range extents {
		fmt.Fprintf(&text, "%d %d %d\n", e.Inside, e.Outside, e.Count)
	}
	if text.Len() > mapBytes {
		return "", fmt.Errorf("plan id map: %d extents need %d bytes, one write has %d", len(extents), text.Len(), mapBytes)
	}
	return text.String(), nil
}
