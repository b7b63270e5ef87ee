package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/eyas-agent/eyas/collectors/identity"
)

type mapping struct {
	HostID      *uint32 `json:"hostId"`
	ContainerID uint32  `json:"containerId"`
	Length      *uint32 `json:"length"`
}

// Parse reads a record of kubelet's user namespace manager.
func Parse(text []byte) (identity.UIDMap, identity.GIDMap, error) {
	var record struct {
		UIDs []mapping `json:"uidMappings"`
		GIDs []mapping `json:"gidMappings"`
	}
	if err := json.Unmarshal(text, &record); err != nil {
		// The error quotes a number that is out of range, of whatever length.
		return nil, nil, fmt.Errorf("it is no record of kubelet's: %.128s", err.Error())
	}
	if len(record.UIDs) == 0 || len(record.GIDs) == 0 {
		return nil, nil, errors.New("it has no uidMappings or no gidMappings")
	}
	uids, err := extents("uid", record.UIDs)
	if err != nil {
		return nil, nil, err
	}
	gids, err := extents("gid", record.GIDs)
	return uids, gids, err
}

// extents refuses what maps no ids, or ids that do not exist.
func extents(kind string, all []mapping) ([]identity.Extent, error) {
	const ids = uint64(1) << 32
	if len(all) > maxMappings {
		return nil, fmt.Errorf("it has more than %d mappings of %ss", maxMappings, kind)
	}
	var out []identity.Extent
	for i, m := range all {
		switch {
		case m.HostID == nil || m.Length == nil:
			return nil, fmt.Errorf("%s mapping %d has no hostId or no length", kind, i)
		case *m.Length == 0:
			return nil, fmt.Errorf("%s mapping %d maps no ids", kind, i)
		case uint64(*m.HostID)+uint64(*m.Length) > ids, uint64(m.ContainerID)+uint64(*m.Length) > ids:
			return nil, fmt.Errorf("%s mapping %d goes past id %d", kind, i, ids-1)
		}
		out = append(out, identity.Extent{First: m.ContainerID, Host: *m.HostID, Count: *m.Length})
	}
	return out, nil
}
