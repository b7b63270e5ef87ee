package bpf

import (
	"errors"
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rawVictim(memcgs int) identityEyasVictim {
	v := identityEyasVictim{
		H: header(KindVictim, identityEyasFlagEYAS_FLAG_PARTIAL, 9), Start: 2, Cgroup: 3, Kill: 4,
		Limit: identityEyasMemcg{Cgroup: 5, Usage: 6, Max: 7, Ooms: 8, Level: 1, Flags: uint32(identityEyasMemcgFlagEYAS_MEMCG_READ | identityEyasMemcgFlagEYAS_MEMCG_GROUP)},
		File:  1, Anon: 2, Swap: -1, Shmem: math.MaxInt64, Pid: 10, By: 11, ScoreAdj: -1000, Memcgs: uint16(memcgs),
	}
	copy(v.Comm[:], []int8{'a', '\n', 0, 'x'})
	for i := range min(memcgs, len(v.Memcg)) {
		v.Memcg[i] = identityEyasMemcg{Cgroup: uint64(i), Usage: math.MaxUint64, Max: math.MaxInt64, Flags: uint32(identityEyasMemcgFlagEYAS_MEMCG_V1)}
	}
	return v
}

// A victim is told in bytes; what no limit is is none, and what cannot be does
// not overflow.
func TestDecodeVictim(t *testing.T) {
	page := uint64(os.Getpagesize())
	most := math.MaxUint64 / page * page
	v1 := func(id uint64) Memcg {
		return Memcg{Cgroup: id, V1: true, Usage: most, Max: math.MaxUint64}
	}
	var d Decoder
	got, err := d.Decode(sized(bytesOf(rawVictim(2))))
	want := &Victim{
		Time: 9, Start: 2, PID: 10, By: 11, Cgroup: 3, Comm: "a\n", ScoreAdj: -1000, File: page, Anon: 2 * page, Shmem: most,
		Kill: 4, Limit: Memcg{Cgroup: 5, Level: 1, Read: true, Usage: 6 * page, Max: 7 * page, OOMs: 8, Group: true},
		Memcgs: []Memcg{v1(0), v1(1)}, Cut: true,
	}
	if diff := cmp.Diff(any(want), got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	untold := rawVictim(16)
	untold.Kill = 0
	got, err = d.Decode(sized(bytesOf(untold)))
	if v, ok := got.(*Victim); !ok || v.Limit != (Memcg{}) || len(v.Memcgs) != 16 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, raw := range map[string][]byte{
		"17 cgroups": bytesOf(rawVictim(17)), "65535 cgroups": bytesOf(rawVictim(math.MaxUint16)), "cut": bytesOf(rawVictim(1))[:headerSize+100],
	} {
		if got, err := d.Decode(sized(raw)); got != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
