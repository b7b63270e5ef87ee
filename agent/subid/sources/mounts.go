package sources

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// idmappedMount is a mount that shows the ids First… of its files as Host….
type idmappedMount struct {
	id         uint64 // the kernel's unique one
	uids, gids []identity.Extent
}

// checkMounts takes idmapped mounts into account.
//
// From 6.15 on the kernel tells their maps, for every mount namespace, also
// those without a process: the answer is exact. A mount holds the ids that it
// shows and those that it has on disk.
//
// Before, /proc/PID/mountinfo tells that a mount is idmapped, but not how. Then
// it matters who can reach the mount, which is who is in its mount namespace. In
// one whose processes live in a tenant's user namespace, only ids mapped there
// can act through the mount, and those maps were found not to have the range: so
// it holds nothing of it, whatever its map. In one with processes of the host's
// numbering, where new containers come from, nothing can be said: Indeterminate
// until the mount is gone. So nodes of 6.1 to 6.14 full of pods with idmapped
// volumes, which are in the pods' own mount namespaces, still get answers.
func (p *Prover) checkMounts(t *targets) {
	mounts, err := p.mounts(p.Proc)
	if err != nil {
		p.checkMountinfo(t, err)
		return
	}
	for _, m := range mounts {
		for _, ids := range [][]identity.Extent{m.uids, m.gids} {
			text := func() string { return fmt.Sprintf("mount %d is idmapped with it", m.id) }
			held := holds(ids)
			t.holds(held, text)
			for _, e := range ids {
				if len(held) > 0 && e.Count > 0 {
					t.holds([]subid.Range{{Start: e.First, Count: e.Count}}, text)
				}
			}
		}
	}
}

// checkMountinfo is the way of older kernels, and of an agent that may not use
// the newer one, for the reason why.
func (p *Prover) checkMountinfo(t *targets, why error) {
	// Inode numbers of namespaces are used again at once, so one that is skipped
	// could be another by now; but then it belongs to a container that was born
	// during the proof, and no new one gets the range.
	seen := map[string]bool{}
	p.walk(t, func(pid int) error {
		dir := filepath.Join(p.Proc, strconv.Itoa(pid))
		_, uids, gids, err := readMaps(p.Proc, pid)
		if gone(err) {
			return errGone
		}
		if err != nil {
			return err
		}
		if !hostly(uids) && !hostly(gids) {
			return nil
		}
		ns, err := os.Readlink(filepath.Join(dir, "ns", "mnt"))
		if gone(err) {
			return nil // a zombie has none any more, and cannot reach a mount
		}
		if err != nil {
			return err
		}
		if seen[ns] {
			return nil
		}
		mount, err := readIdmapped(filepath.Join(dir, "mountinfo"))
		if gone(err) || errors.Is(err, errNoMounts) {
			return nil
		}
		if err != nil {
			return err
		}
		seen[ns] = true
		if mount != 0 {
			t.doubt("mount %d of process %d is idmapped, and its map cannot be read (%v): unmount it, or use Linux 6.15 and CAP_SYS_ADMIN", mount, pid, why)
		}
		return nil
	})
}
