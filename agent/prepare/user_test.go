package prepare

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Whose a reservation is, by what its record and its process say.
func TestSettle(t *testing.T) {
	whole := []identity.Extent{{First: 0, Host: 300000, Count: 65536}}
	all := []identity.Extent{{First: 0, Host: 0, Count: 4294967295}}
	in := func(uid, gid, realUID, realGID uint32) Target {
		return Target{
			UID: identity.HostUID(uid), GID: identity.HostGID(gid), realUID: identity.HostUID(realUID), realGID: identity.HostGID(realGID),
			OwnIDs: true, UIDs: whole, GIDs: whole,
		}
	}
	out := func(id uint32) Target {
		x := in(id, id, id, id)
		x.OwnIDs, x.UIDs, x.GIDs = false, all, all
		return x
	}
	guess := ledger.Lease{ID: "a", UID: 300000, GID: 300000, InPod: []string{"0:1:65535"}, Unsettled: true}
	told := ledger.Lease{ID: "a", UID: 302000, GID: 302000, InPod: []string{"2000:1:1999", "2000:2001:63535"}}
	lent := ledger.Lease{ID: "a", Range: ledger.Range{Start: 1 << 30, Count: 65536}, Unsettled: true}
	nothing := ledger.Lease{ID: "a", Unsettled: true}
	dev := Profile{Owner: OwnerProcess}
	of := func(l ledger.Lease, id uint32, inPod ...string) ledger.Lease {
		l.UID, l.GID, l.InPod = id, id, inPod
		return l
	}
	for name, tc := range map[string]struct {
		l      ledger.Lease
		t      Target
		pr     Profile
		want   ledger.Lease
		subuid string
		fails  string
	}{
		"guess":             {guess, in(301000, 301000, 301000, 301000), dev, of(guess, 301000, "1000:1:999", "1000:1001:64535"), "1000:1:999\n1000:1001:64535\n", ""},
		"guess, root":       {guess, in(300000, 300000, 300000, 300000), dev, guess, "0:1:65535\n", ""},
		"guess, to root":    {guess, in(301000, 301000, 301000, 301000), Profile{Owner: OwnerRoot}, of(guess, 300000, "1000:1:999", "1000:1001:64535"), "1000:1:999\n1000:1001:64535\n", ""},
		"guess, in between": {guess, in(301000, 301000, 300000, 301000), dev, guess, "", "acts as 301000"},
		"guess, group":      {guess, in(301000, 301000, 301000, 300000), dev, guess, "", "acts as 301000"},
		"guess, unmapped":   {guess, in(5, 5, 5, 5), dev, guess, "", "its own map lacks"},
		"guess, gid":        {guess, in(301000, 5, 301000, 5), dev, guess, "", "its own map lacks"},
		"guess, elsewhere":  {guess, out(1000), dev, of(guess, 1000, "0:1:65535"), "", "user namespace of its sandbox"},
		"lent":              {lent, out(1000), dev, of(lent, 1000), "1000:1073741824:65536\n", ""},
		"lent, elsewhere":   {lent, in(301000, 301000, 301000, 301000), dev, of(lent, 301000), "", "user namespace of its sandbox"},
		"no ids":            {nothing, in(301000, 301000, 301000, 301000), dev, of(nothing, 301000), "", ""},
		"told":              {told, in(302000, 302000, 302000, 302000), dev, told, "2000:1:1999\n2000:2001:63535\n", ""},
		"told, another":     {told, in(301000, 301000, 301000, 301000), dev, of(told, 301000, "1000:1:999", "1000:1001:64535"), "1000:1:999\n1000:1001:64535\n", ""},
		"told, still root":  {told, in(300000, 300000, 300000, 300000), dev, told, "", ""},
		"told, in between":  {told, in(301000, 301000, 300000, 300000), dev, told, "", ""},
		"told, unmapped":    {told, in(0, 0, 0, 0), dev, told, "", ""},
	} {
		r := Result{Lease: tc.l}
		err := r.settle(tc.t, tc.pr)
		if (err != nil) != (tc.fails != "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%s: %v, want %q", name, err, tc.fails)
		}
		if d := cmp.Diff(tc.want, r.Lease); err == nil && (d != "" || r.Subuid != tc.subuid || r.Subgid != tc.subuid) {
			t.Errorf("%s: files %q and %q, want %q; lease (-want +got):\n%s", name, r.Subuid, r.Subgid, tc.subuid, d)
		}
		if noted := len(r.Notes) > 0; noted != (name == "told, another") {
			t.Errorf("%s: notes %q", name, r.Notes)
		}
	}
}
