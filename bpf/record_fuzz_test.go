package bpf

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pieces is a reader of so many bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return bytes.NewReader(nil).Read(to)
	}
	n := copy(to, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}

func rawSmall() (exit, attach, hint []byte) {
	exit = sized(bytesOf(identityEyasExit{H: header(KindExit, identityEyasFlagEYAS_FLAG_OOM, 1), Start: 2, Pid: 3, Code: 9}))
	attach = sized(bytesOf(identityEyasAttach{H: header(KindCgroup, 0, 1), Start: 2, Cgroup: 3, Pid: 4}))
	hint = sized(bytesOf(identityEyasHint{H: header(KindMapHint, 0, 1), UsernsId: 2, Userns: 3, Pid: 4}))
	return exit, attach, hint
}

func seeds() [][]byte {
	exit, attach, hint := rawSmall()
	return [][]byte{
		exit, attach, hint, nil, exit[:headerSize],
		rawUserNS(0, 2, 1), rawUserNS(identityEyasFlagEYAS_FLAG_PARTIAL, 0, 0), rawUserNS(0, MaxExtents, MaxExtents),
		sized(bytesOf(rawVictim(0))), sized(bytesOf(rawVictim(16))), sized(bytesOf(rawVictim(17))),
		rawProcess(KindFork, 0, 2, 1, "", ""), rawProcess(KindTask, identityEyasFlagEYAS_FLAG_ZOMBIE, MaxPIDLevels, MaxUserLevels, "", ""),
		rawProcess(KindExec, identityEyasFlagEYAS_FLAG_ARGV_CUT, 2, 3, "/bin/sh", "sh\x00-c\x00exit"),
	}
}

// Whatever a record claims, what comes of it was in the record.
func FuzzDecode(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, honest bool) {
		if honest && len(b) >= headerSize {
			b = sized(bytes.Clone(b))
		}
		before := bytes.Clone(b)
		var d Decoder
		got, err := d.Decode(b[:len(b):len(b)])
		if !bytes.Equal(before, b) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if got != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v, %v", got, err)
			}
			return
		}
		h := readAs[identityEyasHeader](b)
		carried := int(h.Size)
		if carried > len(b) {
			t.Fatalf("size %d of %d bytes", carried, len(b))
		}
		switch r := got.(type) {
		case *Process:
			pids, users := len(r.PIDLevels), len(r.UserLevels)
			if pids < 1 || pids > MaxPIDLevels || users < 1 || users > MaxUserLevels {
				t.Fatalf("%d pid and %d user levels", pids, users)
			}
			used := processFixed + max(pids, users)*levelSize + len(r.Exe)
			for i, a := range r.Argv {
				if used += len(a); i > 0 {
					used++
				}
				if bytes.IndexByte([]byte(a), 0) >= 0 {
					t.Fatalf("argument %q", a)
				}
			}
			if used > carried || len(r.Comm) > 16 || len(r.Nodename) > 64 {
				t.Fatalf("%d bytes came of %d: %+v", used, carried, r)
			}
			if !r.HasArgs && (r.Exe != "" || r.Argv != nil) || Kind(h.Kind) != r.Kind {
				t.Fatalf("%+v", r)
			}
		case *UserNS:
			if len(r.UID) > MaxExtents || len(r.GID) > MaxExtents || usernsFixed+(len(r.UID)+len(r.GID))*extentSize > carried {
				t.Fatalf("%d and %d extents came of %d bytes", len(r.UID), len(r.GID), carried)
			}
		case *Exit, *Attach, *Hint:
		case *Victim:
			if len(r.Memcgs) > len(identityEyasVictim{}.Memcg) || len(r.Comm) > 16 || r.Kill == 0 && r.Limit != (Memcg{}) {
				t.Errorf("%+v", r)
			}
		default:
			t.Fatalf("a %T", got)
		}
		// The same again: after the largest records, and with bytes behind.
		if _, err := d.Decode(rawProcess(KindTask, 0, MaxPIDLevels, MaxUserLevels, "", "")); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Decode(rawUserNS(0, MaxExtents, MaxExtents)); err != nil {
			t.Fatal(err)
		}
		again, err := d.Decode(append(before, bytes.Repeat([]byte{0xee}, 1024)...))
		if err != nil || !cmp.Equal(got, again) {
			t.Fatalf("%v (-first +again):\n%s", err, cmp.Diff(got, again))
		}
	})
}

// Records and rest are the input, in order; and a stream in pieces splits as
// it does whole.
func FuzzNext(f *testing.F) {
	all := seeds()
	f.Add(bytes.Join(all[:3], nil), uint16(7))
	f.Add(bytes.Join(all[5:], nil), uint16(1021))
	for _, b := range all {
		f.Add(b, uint16(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		var records [][]byte
		rest := b
		for {
			rec, after, err := Next(rest)
			if err != nil {
				if rec != nil || after != nil || !errors.Is(err, ErrMalformed) {
					t.Fatalf("%x, %x, %v", rec, after, err)
				}
				break
			}
			if len(rec) < headerSize || len(rec) != int(readAs[identityEyasHeader](rec).Size) {
				t.Fatalf("a record of %d bytes", len(rec))
			}
			if !bytes.Equal(rest, append(bytes.Clone(rec), after...)) {
				t.Fatal("record and rest are not the input")
			}
			records, rest = append(records, rec), after
		}
		var read [][]byte
		_, err := readRecords(&pieces{b, 1 + int(piece)}, nil, func(r []byte) error { read = append(read, bytes.Clone(r)); return nil })
		if (err == nil) != (len(rest) == 0) || (err != nil && !errors.Is(err, ErrMalformed)) {
			t.Fatalf("%d bytes left over, %v", len(rest), err)
		}
		if !slices.EqualFunc(records, read, bytes.Equal) {
			t.Fatalf("%x whole, %x in pieces", records, read)
		}
	})
}
