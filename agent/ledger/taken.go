package ledger

import "slices"

// taken is the ranges of live leases, sorted and apart from each other.
type taken struct{ all []takenRange }

type takenRange struct {
	Range
	id string
}

// at returns the index of the first range that ends at or after id.
func (t *taken) at(id uint32) int {
	i, _ := slices.BinarySearchFunc(t.all, id, func(r takenRange, id uint32) int {
		if r.Last() < id {
			return -1
		}
		return 1
	})
	return i
}

// find returns the lease that has an id of r.
func (t *taken) find(r Range) (string, bool) {
	if r.Empty() {
		return "", false
	}
	if i := t.at(r.Start); i < len(t.all) && t.all[i].Overlaps(r) {
		return t.all[i].id, true
	}
	return "", false
}

// add takes r, which must not overlap any.
func (t *taken) add(r Range, id string) {
	if !r.Empty() {
		t.all = slices.Insert(t.all, t.at(r.Start), takenRange{r, id})
	}
}

// remove frees what add took.
func (t *taken) remove(r Range) {
	if i := t.at(r.Start); !r.Empty() && i < len(t.all) && t.all[i].Range == r {
		t.all = slices.Delete(t.all, i, i+1)
	}
}
