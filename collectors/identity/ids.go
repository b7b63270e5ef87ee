package identity

import "strconv"

// Ids of different spaces do not compile into each other. A host id is one of
// the initial namespaces, which is what the kernel logs and audits.
type (
	HostPID uint32
	HostUID uint32
	HostGID uint32
	// PID, UID and GID are ids as one namespace's inhabitants see them.
	PID uint32
	UID uint32
	GID uint32
)

// NoID is the kernel's (uid_t)-1: no uid and no gid, never a valid id.
const NoID = 4294967295

// ProcessKey names a process for good: pids are reused, start times of one pid
// are not. Start is in ns since boot (field start_boottime of its leader).
type ProcessKey struct {
	PID   HostPID `json:"pid"`
	Start uint64  `json:"start"`
}

// NSKey names a namespace for good. Inode numbers are recycled at once, so a
// generation goes with them: for pid namespaces the start of their first
// process (0 for the initial one), for user namespaces the kernel's ns_id where
// there is one (6.18), else the time at which eyas first saw them.
type NSKey struct {
	Inum uint32 `json:"inum"`
	Gen  uint64 `json:"gen"`
}

// String returns inum.generation.
func (k NSKey) String() string {
	return strconv.FormatUint(uint64(k.Inum), 10) + "." + strconv.FormatUint(k.Gen, 10)
}

// ParseNSKey reverses String.
func ParseNSKey(s string) (NSKey, bool) {
	for i := range len(s) {
		if s[i] != '.' {
			continue
		}
		inum, err1 := strconv.ParseUint(s[:i], 10, 32)
		gen, err2 := strconv.ParseUint(s[i+1:], 10, 64)
		return NSKey{Inum: uint32(inum), Gen: gen}, err1 == nil && err2 == nil
	}
	return NSKey{}, false
}

// IsZero reports whether the key names nothing.
func (k NSKey) IsZero() bool { return k.Inum == 0 }
