package sources

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// status is what /proc/PID/status says of a task's ids. (prometheus/procfs
// leaves out the supplementary groups, and bounds nothing.)
type status struct {
	ids     []uint32 // real, effective, saved and file system uid and gid; groups
	threads uint32
	caps    uint64 // effective
}

func parseStatus(text []byte) (status, error) {
	s := status{threads: 1}
	var uids, gids bool
	err := eachLine(text, func(_ int, line []byte) error {
		key, value, _ := bytes.Cut(line, []byte(":"))
		var want int
		switch string(key) {
		case "Uid":
			uids, want = true, 4
		case "Gid":
			gids, want = true, 4
		case "Groups":
		case "Threads":
			n, err := number(bytes.TrimSpace(value))
			s.threads = n
			return err
		case "CapEff":
			caps, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
			if err != nil {
				return fmt.Errorf("CapEff %s is no hexadecimal number", quote(bytes.TrimSpace(value)))
			}
			s.caps = caps
			return nil
		default:
			return nil
		}
		fields := bytes.Fields(value)
		if want != 0 && len(fields) != want {
			return fmt.Errorf("%s has %d numbers, not %d", key, len(fields), want)
		}
		for _, f := range fields {
			id, err := number(f)
			if err != nil {
				return err
			}
			s.ids = append(s.ids, id)
		}
		return nil
	})
	if err == nil && (!uids || !gids) {
		err = errors.New("no line Uid or no line Gid")
	}
	return s, err
}

// parseIDMap reads /proc/PID/uid_map or gid_map: ids inside, ids as the reader's
// user namespace sees them, count.
func parseIDMap(text []byte) ([]identity.Extent, error) {
	var out []identity.Extent
	err := eachLine(text, func(_ int, line []byte) error {
		f := bytes.Fields(line)
		if len(f) != 3 {
			return fmt.Errorf("%d numbers, not 3", len(f))
		}
		var v [3]uint32
		for i := range v {
			n, err := number(f[i])
			if err != nil {
				return err
			}
			v[i] = n
		}
		out = append(out, identity.Extent{First: v[0], Host: v[1], Count: v[2]})
		return nil
	})
	return out, err
}

// holds returns the host ids that a map gives to its namespace.
//
// What a map of the host's own numbering takes to itself is left out: a service
// with PrivateUsers=identity or full has every id, as the host has, and holds
// none of them; who of its processes has an id is seen in that process. Such a
// map has host id 0 or 1, which no tenant can map: it takes a privilege over the
// parent's id. So a tenant that maps its ids to the same numbers inside of its
// own namespaces does not get out of the account.
func holds(m []identity.Extent) []subid.Range {
	host := hostly(m)
	var out []subid.Range
	for _, e := range m {
		if e.Count == 0 || host && e.First == e.Host {
			continue
		}
		out = append(out, subid.Range{Start: e.Host, Count: e.Count})
	}
	return out
}

// hostly: the map has the host's own numbering.
func hostly(m []identity.Extent) bool {
	for _, e := range m {
		if e.Count > 0 && e.First == e.Host && e.First <= 1 {
			return true
		}
	}
	return false
}
