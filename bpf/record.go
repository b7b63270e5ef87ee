package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"
)

// Kind says what a record is.
type Kind uint16

// The kinds of records; see wire.h.
const (
	KindFork    = Kind(identityEyasKindEYAS_KIND_FORK)
	KindExec    = Kind(identityEyasKindEYAS_KIND_EXEC)
	KindExit    = Kind(identityEyasKindEYAS_KIND_EXIT)
	KindCgroup  = Kind(identityEyasKindEYAS_KIND_CGROUP)
	KindUserNS  = Kind(identityEyasKindEYAS_KIND_USERNS)
	KindMapHint = Kind(identityEyasKindEYAS_KIND_MAPHINT)
	KindTask    = Kind(identityEyasKindEYAS_KIND_TASK)
	KindVictim  = Kind(identityEyasKindEYAS_KIND_VICTIM)
)

// Limits of the kernel: pid namespace levels 0..32, user namespace levels
// 0..33 (include/linux/pid_namespace.h, kernel/user_namespace.c), and extents
// of one id map (UID_GID_MAP_MAX_EXTENTS).
const (
	MaxPIDLevels  = 33
	MaxUserLevels = 34
	MaxExtents    = 340
)

// ErrMalformed is wrapped by every error of Decode.
var ErrMalformed = errors.New("malformed record")

// Level is what one nest level says of a process. Pid and user levels are
// counted apart. Ids are host ids, namespaces inode numbers.
type Level struct {
	PID        uint32 // the process's number in this level's pid namespace
	PIDNS      uint32
	PIDNSStart uint64 // start of that namespace's first process, ns since boot
	PIDNSOwner uint32 // user namespace that owns it
	UserNS     uint32
	UserNSID   uint64 // never reused; 0 before Linux 6.18
	OwnerUID   uint32
	OwnerGID   uint32
}

// Process is the identity of one process (thread group) at Time.
type Process struct {
	Kind     Kind   // KindFork, KindExec or KindTask
	Time     uint64 // ns since boot
	Start    uint64 // ns since boot; with PID the key of the process
	Cgroup   uint64 // id in the v2 hierarchy
	MapSum   uint64 // digest of the innermost user namespace's maps
	PID      uint32
	PPID     uint32
	UID      uint32 // effective
	GID      uint32
	RUID     uint32 // real
	RGID     uint32
	LoginUID uint32 // 4294967295: unset
	MntNS    uint32
	Threads  uint32
	ExecID   uint32 // counts execs, from an arbitrary start
	Zombie   bool

	PIDLevels  []Level // from the host inwards: fields PID, PIDNS…
	UserLevels []Level // from the host inwards: fields UserNS, OwnerUID…

	// Text from inside the sandbox: raw, bounded, hostile.
	Comm     string
	Nodename string
	Exe      string   // only KindExec
	Argv     []string // only KindExec
	ArgvCut  bool     // Argv is not whole
	HasArgs  bool     // Exe and Argv were readable
}

// Exit is the death of a whole process.
type Exit struct {
	Time  uint64 // ns since boot
	Start uint64
	PID   uint32
	Code  uint32 // as wait(2): status<<8 | core<<7 | signal
	OOM   bool   // chosen by the OOM killer
}

// Attach is a move to another cgroup.
type Attach struct {
	Time   uint64
	Start  uint64
	Cgroup uint64
	PID    uint32
}

// Hint says that a user namespace's map is about to be written.
type Hint struct {
	Time     uint64
	UserNS   uint32
	UserNSID uint64
	PID      uint32 // of the writer
}

// Extent maps Count ids from First (inside) to Host.
type Extent struct {
	First, Host, Count uint32
}

// UserNS is a user namespace with its maps composed down to host ids, as the
// kernel stores them.
type UserNS struct {
	Time     uint64
	ID       uint64 // never reused; 0 before Linux 6.18
	MapSum   uint64
	Inum     uint32
	Parent   uint32
	Level    int
	OwnerUID uint32
	OwnerGID uint32
	UID, GID []Extent
	Partial  bool // the maps could not be read whole
}

// Decoder turns raw records into typed ones. The zero value is ready; it is
// not safe for concurrent use.
type Decoder struct {
	// Records are copied here before they are looked at: aligned, and whole
	// also when the record was cut after its last level.
	process struct {
		identityEyasProcess
		_ [identityTail]byte
	}
	userns identityEyasUserns
}

const identityTail = 768 // EYAS_EXE_MAX + EYAS_ARGV_MAX

const headerSize = int(unsafe.Sizeof(identityEyasHeader{}))

// Next splits the first record off b. The record's size stands in its header;
// a reader of a seq_file uses this to find the borders.
func Next(b []byte) (record, rest []byte, err error) {
	if len(b) < headerSize {
		return nil, nil, fmt.Errorf("split record: %w: %d bytes, a header has %d", ErrMalformed, len(b), headerSize)
	}
	h := readAs[identityEyasHeader](b)
	if int64(h.Size) < int64(headerSize) || int64(h.Size) > int64(len(b)) {
		return nil, nil, fmt.Errorf("split record: %w: size %d of %d bytes", ErrMalformed, h.Size, len(b))
	}
	return b[:h.Size], b[h.Size:], nil
}

// Decode turns one raw record into *Process, *Exit, *Attach, *Hint, *UserNS
// or *Victim.
// The result does not refer to b.
func (d *Decoder) Decode(b []byte) (any, error) {
	if len(b) < headerSize {
		return nil, fmt.Errorf("decode record: %w: %d bytes, a header has %d", ErrMalformed, len(b), headerSize)
	}
	h := readAs[identityEyasHeader](b)
	if int64(h.Size) > int64(len(b)) {
		return nil, fmt.Errorf("decode record: %w: size %d of %d bytes", ErrMalformed, h.Size, len(b))
	}
	b = b[:h.Size] // what follows is not the record's
	switch Kind(h.Kind) {
	case KindFork, KindExec, KindTask:
		return d.decodeProcess(b, h)
	case KindUserNS:
		return d.decodeUserNS(b, h)
	case KindExit:
		if !holds[identityEyasExit](b) {
			break
		}
		r := readAs[identityEyasExit](b)
		return &Exit{Time: h.Time, Start: r.Start, PID: r.Pid, Code: r.Code, OOM: flag(h, identityEyasFlagEYAS_FLAG_OOM)}, nil
	case KindCgroup:
		if !holds[identityEyasAttach](b) {
			break
		}
		r := readAs[identityEyasAttach](b)
		return &Attach{Time: h.Time, Start: r.Start, PID: r.Pid, Cgroup: r.Cgroup}, nil
	case KindMapHint:
		if !holds[identityEyasHint](b) {
			break
		}
		r := readAs[identityEyasHint](b)
		return &Hint{Time: h.Time, UserNS: r.Userns, UserNSID: r.UsernsId, PID: r.Pid}, nil
	case KindVictim:
		if !holds[identityEyasVictim](b) {
			break
		}
		return decodeVictim(b, h)
	default:
		return nil, fmt.Errorf("decode record: %w: unknown kind %d", ErrMalformed, h.Kind)
	}
	return nil, fmt.Errorf("decode record: %w: kind %d is too short with %d bytes", ErrMalformed, h.Kind, len(b))
}

func (d *Decoder) decodeProcess(b []byte, h identityEyasHeader) (any, error) {
	const fixed = int(unsafe.Offsetof(identityEyasProcess{}.Level))
	const level = int(unsafe.Sizeof(identityEyasProcess{}.Level[0]))

	if len(b) < fixed {
		return nil, fmt.Errorf("decode process: %w: %d bytes, need %d", ErrMalformed, len(b), fixed)
	}
	r := &d.process.identityEyasProcess
	raw := unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))
	copy(raw, b[:min(len(b), len(raw))])

	pids, users := int(r.PidLevels), int(r.UserLevels)
	if pids < 1 || pids > MaxPIDLevels || users < 1 || users > MaxUserLevels {
		return nil, fmt.Errorf("decode process: %w: %d pid and %d user levels", ErrMalformed, pids, users)
	}
	tail := fixed + max(pids, users)*level
	if len(b) < tail {
		return nil, fmt.Errorf("decode process: %w: %d bytes, %d levels need %d", ErrMalformed, len(b), max(pids, users), tail)
	}
	p := &Process{
		Kind: Kind(h.Kind), Time: h.Time, Start: r.Start, Cgroup: r.Cgroup, MapSum: r.MapSum,
		PID: r.Pid, PPID: r.Ppid, UID: r.Uid, GID: r.Gid, RUID: r.Ruid, RGID: r.Rgid,
		LoginUID: r.Loginuid, MntNS: r.Mntns, Threads: r.Threads, ExecID: r.ExecId,
		Zombie:  flag(h, identityEyasFlagEYAS_FLAG_ZOMBIE),
		ArgvCut: flag(h, identityEyasFlagEYAS_FLAG_ARGV_CUT),
		Comm:    text(r.Comm[:]), Nodename: text(r.Nodename[:]),
	}
	levels := make([]Level, pids+users)
	for i := range pids {
		l := &r.Level[i]
		levels[i] = Level{PID: l.Pid, PIDNS: l.Pidns, PIDNSStart: l.PidnsStart, PIDNSOwner: l.PidnsOwner}
	}
	for i := range users {
		l := &r.Level[i]
		levels[pids+i] = Level{UserNS: l.Userns, UserNSID: l.UsernsId, OwnerUID: l.OwnerUid, OwnerGID: l.OwnerGid}
	}
	p.PIDLevels, p.UserLevels = levels[:pids:pids], levels[pids:]

	exe, argv := int(r.ExeCopied), int(r.ArgvCopied)
	if exe+argv > 0 {
		if len(b) < tail+exe+argv {
			return nil, fmt.Errorf("decode process: %w: %d bytes, strings need %d", ErrMalformed, len(b), tail+exe+argv)
		}
		p.HasArgs = true
		p.Exe = cut(b[tail : tail+exe])
		p.Argv = splitArgs(b[tail+exe : tail+exe+argv])
	}
	return p, nil
}

func (d *Decoder) decodeUserNS(b []byte, h identityEyasHeader) (any, error) {
	const fixed = int(unsafe.Offsetof(identityEyasUserns{}.Extent))
	const extent = int(unsafe.Sizeof(identityEyasExtent{}))

	if len(b) < fixed {
		return nil, fmt.Errorf("decode user namespace: %w: %d bytes, need %d", ErrMalformed, len(b), fixed)
	}
	r := &d.userns
	raw := unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))
	copy(raw, b[:min(len(b), len(raw))])
	nu, ng := int(r.NrUid), int(r.NrGid)
	if nu > MaxExtents || ng > MaxExtents || len(b) < fixed+(nu+ng)*extent {
		return nil, fmt.Errorf("decode user namespace: %w: %d uid and %d gid extents in %d bytes", ErrMalformed, nu, ng, len(b))
	}
	u := &UserNS{
		Time: h.Time, ID: r.Id, MapSum: r.MapSum, Inum: r.Inum, Parent: r.Parent, Level: int(r.Level),
		OwnerUID: r.OwnerUid, OwnerGID: r.OwnerGid, Partial: flag(h, identityEyasFlagEYAS_FLAG_PARTIAL),
	}
	all := make([]Extent, nu+ng)
	for i := range all {
		e := r.Extent[i]
		all[i] = Extent{First: e.First, Host: e.Lower, Count: e.Count}
	}
	u.UID, u.GID = all[:nu:nu], all[nu:]
	return u, nil
}

// holds reports whether b is long enough for a T.
func holds[T any](b []byte) bool {
	var t T
	return uintptr(len(b)) >= unsafe.Sizeof(t)
}

// readAs copies the first bytes of b into a T; the caller has checked the length.
func readAs[T any](b []byte) T {
	var t T
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&t)), unsafe.Sizeof(t)), b)
	return t
}

func flag(h identityEyasHeader, f identityEyasFlag) bool { return uint32(h.Flags)&uint32(f) != 0 }

// text returns a C string of at most len(b) bytes.
func text(b []int8) string {
	return cut(unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), len(b)))
}

func cut(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// splitArgs splits a copy of the argument area at its NUL bytes.
func splitArgs(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	b = bytes.TrimSuffix(b, []byte{0})
	parts := bytes.Split(b, []byte{0})
	args := make([]string, len(parts))
	for i, p := range parts {
		args[i] = string(p)
	}
	return args
}
