package bpf

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const (
	processFixed = int(unsafe.Offsetof(identityEyasProcess{}.Level))
	levelSize    = int(unsafe.Sizeof(identityEyasProcess{}.Level[0]))
	usernsFixed  = int(unsafe.Offsetof(identityEyasUserns{}.Extent))
	extentSize   = int(unsafe.Sizeof(identityEyasExtent{}))
)

// bytesOf returns a copy of what stands in memory.
func bytesOf[T any](v T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...)
}

// sized writes the record's length into its header.
func sized(b []byte) []byte {
	*(*uint32)(unsafe.Pointer(&b[unsafe.Offsetof(identityEyasHeader{}.Size)])) = uint32(len(b))
	return b
}

func header(kind Kind, flags identityEyasFlag, time uint64) identityEyasHeader {
	return identityEyasHeader{Kind: uint16(kind), Flags: uint16(flags), Time: time}
}

func chars(to []int8, s string) {
	for i := range min(len(to), len(s)) {
		to[i] = int8(s[i])
	}
}

// rawProcess is a process at so many levels, each field of its own value, cut
// after its last level as the kernel does, with the tail behind.
func rawProcess(kind Kind, flags identityEyasFlag, pids, users int, exe, argv string) []byte {
	r := identityEyasProcess{
		H: header(kind, flags, 77), Start: 1 << 40, Cgroup: 1<<40 + 1, MapSum: 1<<63 + 2,
		Pid: 3, Ppid: 4, Uid: 5, Gid: 6, Ruid: 7, Rgid: 8, Loginuid: math.MaxUint32, Mntns: 10, Threads: 11, ArgvLen: 12,
		PidLevels: uint8(pids), UserLevels: uint8(users), ExeCopied: uint16(len(exe)), ArgvCopied: uint16(len(argv)),
	}
	chars(r.Comm[:], "comm\xff")
	chars(r.Nodename[:], strings.Repeat("n", 64)) // no NUL
	for i := range r.Level {
		l, n := &r.Level[i], uint32(1000*i)
		l.Pid, l.Pidns, l.PidnsStart, l.PidnsOwner = n+1, n+2, uint64(n)+3, n+4
		l.Userns, l.UsernsId, l.OwnerUid, l.OwnerGid = n+5, uint64(n)+6, n+7, n+8
	}
	return sized(append(append(bytesOf(r)[:processFixed+max(pids, users)*levelSize], exe...), argv...))
}

func wantProcess(kind Kind, pids, users int) *Process {
	p := &Process{
		Kind: kind, Time: 77, Start: 1 << 40, Cgroup: 1<<40 + 1, MapSum: 1<<63 + 2,
		PID: 3, PPID: 4, UID: 5, GID: 6, RUID: 7, RGID: 8, LoginUID: math.MaxUint32, MntNS: 10, Threads: 11,
		Comm: "comm\xff", Nodename: strings.Repeat("n", 64),
	}
	for i := range pids {
		n := uint32(1000 * i)
		p.PIDLevels = append(p.PIDLevels, Level{PID: n + 1, PIDNS: n + 2, PIDNSStart: uint64(n) + 3, PIDNSOwner: n + 4})
	}
	for i := range users {
		n := uint32(1000 * i)
		p.UserLevels = append(p.UserLevels, Level{UserNS: n + 5, UserNSID: uint64(n) + 6, OwnerUID: n + 7, OwnerGID: n + 8})
	}
	return p
}

func rawUserNS(flags identityEyasFlag, uids, gids int) []byte {
	r := identityEyasUserns{
		H: header(KindUserNS, flags, 9), Id: 1 << 50, MapSum: 2, Inum: 3, Parent: 4, OwnerUid: 5, OwnerGid: 6,
		Level: 33, NrUid: uint16(uids), NrGid: uint16(gids),
	}
	for i := range r.Extent {
		r.Extent[i] = identityEyasExtent{First: uint32(i), Lower: math.MaxUint32 - uint32(i), Count: 1}
	}
	return sized(bytesOf(r)[:usernsFixed+(uids+gids)*extentSize])
}

func wantUserNS(partial bool, uids, gids int) *UserNS {
	u := &UserNS{
		Time: 9, ID: 1 << 50, MapSum: 2, Inum: 3, Parent: 4, OwnerUID: 5, OwnerGID: 6, Level: 33, Partial: partial,
		UID: []Extent{}, GID: []Extent{},
	}
	for i := range uids + gids {
		e := Extent{First: uint32(i), Host: math.MaxUint32 - uint32(i), Count: 1}
		if i < uids {
			u.UID = append(u.UID, e)
		} else {
			u.GID = append(u.GID, e)
		}
	}
	return u
}

func TestDecode(t *testing.T) {
	exit, attach, hint := rawSmall()
	with := func(p *Process, f func(*Process)) *Process { f(p); return p }
	long := strings.Repeat("x", 256)
	var d Decoder // one for all: nothing of a record is left in the next
	for _, tc := range []struct {
		name string
		raw  []byte
		want any
	}{
		{"most user extents", rawUserNS(0, MaxExtents, MaxExtents), wantUserNS(false, MaxExtents, MaxExtents)},
		{"uids only", rawUserNS(0, 2, 0), wantUserNS(false, 2, 0)},
		{"gids only", rawUserNS(0, 0, 3), wantUserNS(false, 0, 3)},
		{"no map", rawUserNS(identityEyasFlagEYAS_FLAG_PARTIAL, 0, 0), wantUserNS(true, 0, 0)},
		{"most levels", rawProcess(KindTask, 0, MaxPIDLevels, MaxUserLevels, "", ""), wantProcess(KindTask, MaxPIDLevels, MaxUserLevels)},
		{"fork", rawProcess(KindFork, 0, 2, 1, "", ""), wantProcess(KindFork, 2, 1)},
		{"zombie", rawProcess(KindTask, identityEyasFlagEYAS_FLAG_ZOMBIE, 1, 3, "", ""),
			with(wantProcess(KindTask, 1, 3), func(p *Process) { p.Zombie = true })},
		{"exec", rawProcess(KindExec, 0, 2, 3, "/bin/sh\x00ENV=", "sh\x00\x00-c\x00"),
			with(wantProcess(KindExec, 2, 3), func(p *Process) { p.HasArgs, p.Exe, p.Argv = true, "/bin/sh", []string{"sh", "", "-c"} })},
		{"arguments cut", rawProcess(KindExec, identityEyasFlagEYAS_FLAG_ARGV_CUT, 3, 2, long, "a\x00b"+long+long[:253]),
			with(wantProcess(KindExec, 3, 2), func(p *Process) {
				p.HasArgs, p.ArgvCut, p.Exe, p.Argv = true, true, long, []string{"a", "b" + long + long[:253]}
			})},
		{"path only", rawProcess(KindExec, 0, 2, 2, "\x00", ""),
			with(wantProcess(KindExec, 2, 2), func(p *Process) { p.HasArgs = true })},
		{"arguments only", rawProcess(KindExec, 0, 2, 2, "", "\x00"),
			with(wantProcess(KindExec, 2, 2), func(p *Process) { p.HasArgs, p.Argv = true, []string{""} })},
		{"exit", exit, &Exit{Time: 1, Start: 2, PID: 3, Code: 9, OOM: true}},
		{"attach", attach, &Attach{Time: 1, Start: 2, Cgroup: 3, PID: 4}},
		{"hint", hint, &Hint{Time: 1, UserNSID: 2, UserNS: 3, PID: 4}},
	} {
		before := append([]byte(nil), tc.raw...)
		got, err := d.Decode(tc.raw)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if diff := cmp.Diff(before, tc.raw); diff != "" {
			t.Errorf("%s: the input was changed:\n%s", tc.name, diff)
		}
		clear(tc.raw) // the result does not refer to it
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}

		// Any byte less is an error, whether or not the header owns up to it.
		for n := range before {
			cut := append([]byte(nil), before[:n]...)
			if got, err := d.Decode(cut); got != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s: %d of %d bytes: %v, %v", tc.name, n, len(before), got, err)
			}
			if n < headerSize {
				continue
			}
			if got, err := d.Decode(sized(cut)); got != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s: %d of %d bytes, size told: %v, %v", tc.name, n, len(before), got, err)
			}
		}
		// Bytes behind the record are not its own.
		more := append(before[:len(before):len(before)], strings.Repeat("\xee", 4096)...)
		if got, err := d.Decode(more); err != nil || !cmp.Equal(tc.want, got) {
			t.Errorf("%s: with bytes behind: %v (-want +got):\n%s", tc.name, err, cmp.Diff(tc.want, got))
		}
	}
}

// A record that claims more than it carries is refused, also when bytes that
// are not its own follow.
func TestDecodeClaims(t *testing.T) {
	process := func(f func(*identityEyasProcess)) []byte {
		r := readAs[identityEyasProcess](rawProcess(KindExec, 0, 2, 2, "", ""))
		f(&r)
		return bytesOf(r)[:processFixed+2*levelSize]
	}
	userns := func(f func(*identityEyasUserns)) []byte {
		r := readAs[identityEyasUserns](rawUserNS(0, 1, 1))
		f(&r)
		return bytesOf(r)[:usernsFixed+2*extentSize]
	}
	exit, _, _ := rawSmall()
	kind := func(k uint16) []byte {
		r := readAs[identityEyasExit](exit)
		r.H.Kind = k
		return bytesOf(r)
	}
	var d Decoder
	for name, raw := range map[string][]byte{
		"kind 0":          kind(0),
		"kind 8":          kind(8),
		"kind 65535":      kind(math.MaxUint16),
		"no pid level":    process(func(r *identityEyasProcess) { r.PidLevels = 0 }),
		"no user level":   process(func(r *identityEyasProcess) { r.UserLevels = 0 }),
		"3 pid levels":    process(func(r *identityEyasProcess) { r.PidLevels = 3 }),
		"3 user levels":   process(func(r *identityEyasProcess) { r.UserLevels = 3 }),
		"34 pid levels":   process(func(r *identityEyasProcess) { r.PidLevels = MaxPIDLevels + 1 }),
		"35 user levels":  process(func(r *identityEyasProcess) { r.UserLevels = MaxUserLevels + 1 }),
		"255 levels":      process(func(r *identityEyasProcess) { r.PidLevels, r.UserLevels = 255, 255 }),
		"a path":          process(func(r *identityEyasProcess) { r.ExeCopied = 1 }),
		"arguments":       process(func(r *identityEyasProcess) { r.ArgvCopied = 1 }),
		"65535 of both":   process(func(r *identityEyasProcess) { r.ExeCopied, r.ArgvCopied = math.MaxUint16, math.MaxUint16 }),
		"2 uid extents":   userns(func(r *identityEyasUserns) { r.NrUid = 2 }),
		"2 gid extents":   userns(func(r *identityEyasUserns) { r.NrGid = 2 }),
		"341 uid extents": userns(func(r *identityEyasUserns) { r.NrUid = MaxExtents + 1 }),
		"341 gid extents": userns(func(r *identityEyasUserns) { r.NrGid = MaxExtents + 1 }),
		"65535 extents":   userns(func(r *identityEyasUserns) { r.NrUid, r.NrGid = math.MaxUint16, math.MaxUint16 }),
	} {
		for _, behind := range []int{0, 1 << 10} {
			if got, err := d.Decode(append(sized(raw), make([]byte, behind)...)); got != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %d bytes behind: %v, %v", name, behind, got, err)
			}
		}
		// No more carries what no kernel can mean.
		if strings.HasPrefix(name, "34") || strings.HasPrefix(name, "35") {
			if got, err := d.Decode(sized(append(raw, make([]byte, 16<<10)...))); got != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, carried: %v, %v", name, got, err)
			}
		}
	}
}

func TestNext(t *testing.T) {
	exit, attach, hint := rawSmall()
	rest := append(append(append([]byte(nil), exit...), attach...), hint...)
	for i, want := range [][]byte{exit, attach, hint} {
		rec, after, err := Next(rest)
		if err != nil || !cmp.Equal(want, rec) || len(after) != len(rest)-len(rec) {
			t.Fatalf("record %d: %x, %d left, %v", i, rec, len(after), err)
		}
		rest = after
	}
	for name, size := range map[string]uint32{"0": 0, "header - 1": uint32(headerSize) - 1, "one more": uint32(len(exit)) + 1, "most": math.MaxUint32} {
		b := append([]byte(nil), exit...)
		*(*uint32)(unsafe.Pointer(&b[unsafe.Offsetof(identityEyasHeader{}.Size)])) = size
		if rec, after, err := Next(b); rec != nil || after != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("size %s: %x, %x, %v", name, rec, after, err)
		}
	}
	for n := range headerSize {
		if _, _, err := Next(exit[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A read may end anywhere, and the stream may be larger than any buffer.
func TestReadRecords(t *testing.T) {
	exit, attach, hint := rawSmall()
	var want [][]byte
	var stream []byte
	for i := range 40 {
		want = append(want, exit, rawUserNS(0, MaxExtents, i), attach, rawProcess(KindTask, 0, 1+i%33, 2, "", ""), hint)
	}
	for _, b := range want {
		stream = append(stream, b...)
	}
	broken := errors.New("broken")
	for _, tc := range []struct {
		name    string
		r       io.Reader
		records int
		err     error
	}{
		{"whole", strings.NewReader(string(stream)), len(want), nil},
		{"byte by byte", iotest.OneByteReader(strings.NewReader(string(stream))), len(want), nil},
		{"halves", iotest.HalfReader(strings.NewReader(string(stream))), len(want), nil},
		{"17 bytes", &pieces{stream, 17}, len(want), nil},
		{"4093 bytes", &pieces{stream, 4093}, len(want), nil},
		{"data with the end", iotest.DataErrReader(&pieces{stream, 1021}), len(want), nil},
		{"nothing", strings.NewReader(""), 0, nil},
		{"cut in a header", strings.NewReader(string(exit[:headerSize-1])), 0, ErrMalformed},
		{"cut in a record", &pieces{stream[:len(stream)-1], 100}, len(want) - 1, ErrMalformed},
		{"size 0", strings.NewReader(string(exit) + strings.Repeat("\x00", 100)), 1, ErrMalformed},
		{"size without end", strings.NewReader(string(exit) + strings.Repeat("\xff", 1<<20)), 1, ErrMalformed},
		{"broken", io.MultiReader(strings.NewReader(string(exit)), iotest.ErrReader(broken)), 1, broken},
		{"task gone", iotest.ErrReader(unix.ESRCH), 0, ErrNoProcess},
	} {
		var got [][]byte
		_, err := readRecords(tc.r, nil, func(b []byte) error { got = append(got, append([]byte(nil), b...)); return nil })
		if !errors.Is(err, tc.err) || !slices.EqualFunc(want[:tc.records], got, bytes.Equal) {
			t.Errorf("%s: %d records, want %d, error %v, want %v", tc.name, len(got), tc.records, err, tc.err)
		}
	}
	stop, n := errors.New("stop"), 0
	if _, err := readRecords(strings.NewReader(string(stream)), nil, func([]byte) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%d records after the callback's error, %v", n-1, err)
	}
}
