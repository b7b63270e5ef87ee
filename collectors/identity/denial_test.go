package identity

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAsked: the id told is one that is not mapped, of those asked for, or else
// the effective one.
func TestAsked(t *testing.T) {
	m := UIDMap{{First: 0, Host: 1000, Count: 10}}
	for _, tc := range []struct {
		ids  [3]uint32
		want *UID
	}{
		{[3]uint32{1, 2, 3}, new(UID(2))},
		{[3]uint32{1, noChange, 3}, new(UID(1))},
		{[3]uint32{noChange, noChange, 3}, new(UID(3))},
		{[3]uint32{1, 2, 30}, new(UID(30))},
		{[3]uint32{20, 2, 30}, new(UID(20))},
		{[3]uint32{noChange, noChange, noChange}, nil},
	} {
		r := DenialRecord{Op: deniedSetuid, IDs: tc.ids}
		a := DenialAnswer{UIDs: m}
		a.askedFor(r)
		if d := cmp.Diff(tc.want, a.AskedUID); d != "" {
			t.Errorf("%v (-want +got):\n%s", tc.ids, d)
		}
	}
}

// TestDenialOutcome: what became of the process is told of one that is known, and of
// no other.
func TestDenialOutcome(t *testing.T) {
	for _, tc := range []struct {
		p    *ProcessRecord
		want string
		exit *Exit
	}{
		{nil, "unknown", nil},
		{&ProcessRecord{PID: 5}, "live", nil},
		{&ProcessRecord{PID: 5, Exited: true}, "exited", nil},
		{&ProcessRecord{PID: 5, Exited: true, ExitTold: true, ExitCode: 1 << 8}, "exited", &Exit{Code: 1}},
	} {
		a := DescribeDenial(DenialRecord{PID: 5}, tc.p, Node{}, nobody{})
		if a.State != tc.want {
			t.Errorf("%+v: state %q, want %q", tc.p, a.State, tc.want)
		}
		if d := cmp.Diff(tc.exit, a.Exit); d != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.p, d)
		}
	}
}

// nobody is known.
type nobody struct{}

func (nobody) Container(string) (r ContainerRecord, ok bool) { return r, false }
func (nobody) UserNS(NSKey) (r UserNSRecord, ok bool)        { return r, false }
