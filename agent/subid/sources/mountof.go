package sources

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// ErrNoMountMaps: the kernel does not tell the id maps of mounts (before Linux
// 6.15).
var ErrNoMountMaps = errNoMountMaps

// MountMap is how a mount shows ids: those of First… on disk as Host….
type MountMap struct {
	Idmapped bool
	UIDs     []identity.Extent
	GIDs     []identity.Extent
}

// MountMapOf returns the map of the mount with a unique id (STATX_MNT_ID_UNIQUE)
// in a mount namespace, which it takes as /proc/PID/ns/mnt. Of an idmapped mount
// whose map the kernel does not tell, Idmapped is true beside the error.
func MountMapOf(mntns *os.File, id uint64) (MountMap, error) {
	fail := func(err error) (MountMap, error) {
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOSYS) {
			err = ErrNoMountMaps
		}
		return MountMap{}, fmt.Errorf("read the id map of mount %d: %w", id, err)
	}
	info := mntNSInfo{size: 16}
	if _, err := mntNSIoctl(int(mntns.Fd()), nsMntGetInfo, &info); err != nil {
		return fail(err)
	}
	buf := make([]byte, 4096)
	m, idmapped, err := statmount(id, info.id, &buf)
	if err != nil {
		mm, err := fail(err)
		mm.Idmapped = idmapped
		return mm, err
	}
	return MountMap{Idmapped: idmapped, UIDs: m.uids, GIDs: m.gids}, nil
}
