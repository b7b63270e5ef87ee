package identity

import (
	"slices"

	"github.com/eyas-agent/eyas/bpf"
)

// Extent maps Count consecutive ids: First… in the namespace to Host… on the
// host. The kernel composes maps when they are written (map_write() of
// kernel/user_namespace.c), so one step always reaches the host.
type Extent struct {
	First uint32 `json:"first"`
	Host  uint32 `json:"host"`
	Count uint32 `json:"count"`
}

// Map is one id map of a user namespace, composed down to the host. Inner and
// Host are its two id spaces. The zero value maps nothing: such is a namespace
// whose map was not written yet.
type Map[Inner, Host ~uint32] []Extent

// UIDMap and GIDMap are the maps of user and group ids.
type (
	UIDMap = Map[UID, HostUID]
	GIDMap = Map[GID, HostGID]
)

// ToHost translates an inner id; false: the namespace does not have it.
func (m Map[Inner, Host]) ToHost(id Inner) (Host, bool) {
	for _, e := range m {
		if off := uint32(id) - e.First; uint32(id) >= e.First && off < e.Count {
			return Host(e.Host + off), true
		}
	}
	return 0, false
}

// FromHost translates a host id; false: it is unmapped, and shows inside as
// the overflow id (65534) that says nothing of who it is.
func (m Map[Inner, Host]) FromHost(id Host) (Inner, bool) {
	for _, e := range m {
		if off := uint32(id) - e.Host; uint32(id) >= e.Host && off < e.Count {
			return Inner(e.First + off), true
		}
	}
	return 0, false
}

// Relative rewrites the map as seen from an outer namespace with the map
// outer: as /proc/PID/uid_map reads there. Parts that outer does not map, or
// maps piecewise, become extents of their own or are left out.
func (m Map[Inner, Host]) Relative(outer Map[Inner, Host]) []Extent {
	var out []Extent
	for _, e := range m {
		for _, o := range outer {
			lo, hi := max(uint64(e.Host), uint64(o.Host)), min(uint64(e.Host)+uint64(e.Count), uint64(o.Host)+uint64(o.Count))
			if lo >= hi {
				continue
			}
			out = append(out, Extent{
				First: e.First + uint32(lo-uint64(e.Host)),
				Host:  o.First + uint32(lo-uint64(o.Host)),
				Count: uint32(hi - lo),
			})
		}
	}
	slices.SortFunc(out, func(a, b Extent) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	return out
}

// Overlap returns the host ids that both maps reach, as ranges [Host, Host+Count).
func Overlap[Inner, Host ~uint32](a, b Map[Inner, Host]) []Extent {
	var out []Extent
	for _, x := range a {
		for _, y := range b {
			lo, hi := max(uint64(x.Host), uint64(y.Host)), min(uint64(x.Host)+uint64(x.Count), uint64(y.Host)+uint64(y.Count))
			if lo < hi {
				out = append(out, Extent{First: x.First + uint32(lo-uint64(x.Host)), Host: uint32(lo), Count: uint32(hi - lo)})
			}
		}
	}
	return out
}

// Size is the number of ids mapped.
func (m Map[Inner, Host]) Size() uint64 {
	var n uint64
	for _, e := range m {
		n += uint64(e.Count)
	}
	return n
}

func newMap[Inner, Host ~uint32](from []bpf.Extent) Map[Inner, Host] {
	if len(from) == 0 {
		return nil
	}
	m := make(Map[Inner, Host], len(from))
	for i, e := range from {
		m[i] = Extent{First: e.First, Host: e.Host, Count: e.Count}
	}
	return m
}
