package bpf

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// DenialMonitor holds the programs that tell what nested processes were refused,
// and their map. Safe for concurrent use, but for what attaches and detaches,
// SelfTest and Close.
type DenialMonitor struct {
	trampolines
	seccomp, trace *trampolines // of the same maps; see AttachSeccomp and StartTrace
	keepSeccomp    bool         // when a trace ends
}

// DenialOptions of a DenialMonitor. Zero values mean the defaults.
type DenialOptions struct {
	// Rows the kernel can hold. Default 4096.
	Rows uint32
}

// OpenDenials makes the maps; Attach does the rest. The caller closes it.
func OpenDenials(o DenialOptions) (*DenialMonitor, error) {
	spec, err := loadDenials()
	if err != nil {
		return nil, fmt.Errorf("load embedded programs: %w", err)
	}
	if o.Rows > 0 {
		spec.Maps[denialsMapDenials].MaxEntries = o.Rows
	}
	if err := errors.Join(
		spec.Variables[denialsVarAsking].Set(asking()),
		spec.Variables[denialsVarPolling].Set(int32(unix.SYS_EPOLL_CTL)),
		spec.Variables[denialsVarExecuting].Set([2]int32{unix.SYS_EXECVE, unix.SYS_EXECVEAT}),
	); err != nil {
		return nil, fmt.Errorf("set constants: %w", err)
	}
	m := &DenialMonitor{trampolines: trampolines{spec: spec, rows: denialsMapDenials, filterable: true, infos: here(denialPrograms()), target: syscallFunction}}
	if err := m.open(); err != nil {
		return nil, err
	}
	m.seccomp, m.trace = m.sharing(seccompPrograms()), m.sharing(tracePrograms())
	return m, nil
}

// here leaves out the system calls that newer architectures do without.
func here(all []trampolineInfo) []trampolineInfo {
	if runtime.GOARCH == "amd64" {
		return all
	}
	return slices.DeleteFunc(all, func(p trampolineInfo) bool {
		return slices.Contains([]string{"fexit/sys_chown", "fexit/sys_lchown", "fexit/sys_chmod", "fexit/sys_mknod", "fexit/sys_inotify_init"}, p.target)
	})
}

// syscallFunction returns the function of a system call: kernels that pass the
// registers (CONFIG_ARCH_HAS_SYSCALL_WRAPPER) name it by their architecture.
func syscallFunction(section string) string {
	if !strings.HasPrefix(section, "sys_") {
		return section
	}
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	return "__" + arch + "_" + section
}

// Rows reads all rows.
func (m *DenialMonitor) Rows() (map[DenialKey]Denial, error) {
	rows := map[DenialKey]Denial{}
	var (
		k  denialsEyasDenialKey
		v  denialsEyasDenial
		it = m.shared.Maps[denialsMapDenials].Iterate()
	)
	for it.Next(&k, &v) {
		d, err := settled(m.shared.Maps[denialsMapDenials], &k, &v)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows[denialKey(&k)] = d
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read denial map: %w", err)
	}
	return rows, nil
}

// settled reads a row until nobody has written to it meanwhile. What is read of a
// storm is the last that was whole, or the count alone.
func settled(rows *ebpf.Map, key any, v *denialsEyasDenial) (Denial, error) {
	for range 8 {
		var again denialsEyasDenial
		if err := rows.Lookup(key, &again); err != nil {
			return Denial{}, err
		}
		if v.Seq == again.Seq && v.Seq%2 == 0 {
			return denial(v), nil // the first copy was whole before the second began
		}
		*v = again
	}
	return Denial{Count: v.Count}, nil
}

// Of returns the refusals that a process met, of each kind its own last one and
// how many, as far as the kernel has not forgotten them for those of others.
func (m *DenialMonitor) Of(pid uint32) (map[DenialProcess]Denial, error) {
	rows := map[DenialProcess]Denial{}
	var (
		k   denialsEyasDenialProcess
		v   denialsEyasDenial
		all = m.shared.Maps[denialsMapProcesses]
		it  = all.Iterate()
	)
	for it.Next(&k, &v) {
		if k.Pid != pid {
			continue
		}
		d, err := settled(all, &k, &v)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows[DenialProcess{denialKey(&k.Kind), k.Start}] = d
	}
	// Rows that went while it was read may have it begin anew, or end.
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("read denial map of processes: %w", err)
	}
	return rows, nil
}

// Take removes a row and returns what it held; zero when there was none.
func (m *DenialMonitor) Take(k DenialKey) (Denial, error) {
	key := rawDenialKey(k)
	var v denialsEyasDenial
	err := m.shared.Maps[denialsMapDenials].LookupAndDelete(&key, &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return Denial{}, nil
	}
	if err != nil {
		return Denial{}, fmt.Errorf("take denial row: %w", err)
	}
	if v.Seq%2 == 1 {
		return Denial{Count: v.Count}, nil
	}
	return denial(&v), nil
}

// DenialKey says whose refusals a row counts, and of which kind.
type DenialKey struct {
	Who    CountsKey
	Op     DenialOp
	Errno  uint16
	Cause  DenialCause
	Detail uint16 // of CauseCapability: which; of CauseUCount: the kernel's enum ucount_type
}

// DenialProcess is one process's part in a kind.
type DenialProcess struct {
	DenialKey
	Start uint64 // of the process, ns since boot
}

// Denial is a kind of refusal, and the last of them: of that one is all but
// Count. Time is 0 if none was whole.
type Denial struct {
	Count       uint64
	Time        uint64 // ns since boot
	Start       uint64 // of the process, ns since boot
	PID         uint32 // host pid
	UID, GID    uint32 // effective, host ids
	UserNS      uint32 // inum of the process's
	Target      uint32 // inum of the user namespace in which a capability was wanted, that does not map an owner, or at whose limit or above it is
	TargetLevel uint32
	IDs         [3]uint32 // see DenialCause
	Dev         uint32    // of the file; see OverlayKey.Device
	Inode       uint64    // of the file; 0: not known
	Syscall     int32     // number, of the node's architecture
	Comm        string    // bytes of the sandbox: hostile
}

func denialKey(k *denialsEyasDenialKey) DenialKey {
	return DenialKey{
		Who: CountsKey{
			PIDNSStart: k.Who.PidnsStart, UserNSID: k.Who.UsernsId, Cgroup: k.Who.Cgroup, PIDNS: k.Who.Pidns, UserNS: k.Who.Userns,
		},
		Op: DenialOp(k.Op), Errno: k.Error, Cause: DenialCause(k.Cause), Detail: k.Detail,
	}
}

func rawDenialKey(k DenialKey) (raw denialsEyasDenialKey) {
	raw.Who.PidnsStart, raw.Who.UsernsId, raw.Who.Cgroup = k.Who.PIDNSStart, k.Who.UserNSID, k.Who.Cgroup
	raw.Who.Pidns, raw.Who.Userns = k.Who.PIDNS, k.Who.UserNS
	raw.Op, raw.Error, raw.Cause, raw.Detail = uint16(k.Op), k.Errno, uint16(k.Cause), k.Detail
	return raw
}

func denial(v *denialsEyasDenial) Denial {
	comm := make([]byte, 0, len(v.Comm))
	for _, c := range v.Comm {
		comm = append(comm, byte(c))
	}
	return Denial{
		Count: v.Count, Time: v.Time, Start: v.Start, PID: v.Pid, UID: v.Uid, GID: v.Gid, UserNS: v.Userns,
		Target: v.Target, TargetLevel: v.TargetLevel, IDs: v.Id, Dev: v.Dev, Inode: v.Inode, Syscall: v.Syscall,
		Comm: unix.ByteSliceToString(comm),
	}
}
