package bpf

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fill gives every number of v a value of its own, from *next on.
func fill(v reflect.Value, next *uint64) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), next)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), next)
		}
	case reflect.Int64:
		v.SetInt(int64(*next))
		*next++
	default:
		v.SetUint(*next)
		*next++
	}
}

// sum adds up every number of v.
func sum(v reflect.Value) (n uint64) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				n += sum(v.Field(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			n += sum(v.Index(i))
		}
	case reflect.Int64:
		n = uint64(v.Int())
	default:
		n = v.Uint()
	}
	return n
}

// TestOverlayRow: no number of the kernel's is left out, by decoding or adding.
func TestOverlayRow(t *testing.T) {
	var raw overlayEyasOverlay
	next := uint64(1)
	fill(reflect.ValueOf(&raw).Elem(), &next)
	n := overlayRow(&raw)
	all := (next - 1) * next / 2 // 1 + 2 + …
	if got := sum(reflect.ValueOf(n)); got != all || raw.ReadBytes == 0 {
		t.Errorf("a decoded row adds up to %d, want %d", got, all)
	}
	seen := map[uint64]string{}
	v := reflect.ValueOf(n)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Uint64 {
			if other, ok := seen[f.Uint()]; ok {
				t.Errorf("%s and %s are the same number", other, v.Type().Field(i).Name)
			}
			seen[f.Uint()] = v.Type().Field(i).Name
		}
	}
	twice := n
	twice.Add(&n)
	if got := sum(reflect.ValueOf(twice)); got != 2*all {
		t.Errorf("a row twice adds up to %d, want %d", got, 2*all)
	}
	if n.Reads.Calls() != n.Reads.Timed()+n.Reads.Untimed || n.Reads.Timed() == 0 {
		t.Errorf("calls %d, timed %d", n.Reads.Calls(), n.Reads.Timed())
	}
}

func TestOverlayKey(t *testing.T) {
	var raw overlayEyasOverlayKey
	raw.Who.PidnsStart, raw.Who.UsernsId, raw.Who.Cgroup, raw.Who.Pidns, raw.Who.Userns = 1, 2, 3, 4, 5
	raw.Dev, raw.Depth = 7<<20|300, 2
	k := overlayKey(&raw)
	want := OverlayKey{Who: CountsKey{PIDNSStart: 1, UserNSID: 2, Cgroup: 3, PIDNS: 4, UserNS: 5}, Dev: 7<<20 | 300, Depth: 2}
	if d := cmp.Diff(want, k); d != "" {
		t.Error(d)
	}
	if back := rawOverlayKey(k); back != raw {
		t.Errorf("back: %+v, want %+v", back, raw)
	}
	if major, minor := k.Device(); major != 7 || minor != 300 {
		t.Errorf("device %d:%d", major, minor)
	}
}

func TestBucketBounds(t *testing.T) {
	if first, last := BucketBound(0), BucketBound(Buckets-2); first != 1024 || last != 4294967296*time.Nanosecond {
		t.Errorf("from %v to %v", first, last)
	}
}
