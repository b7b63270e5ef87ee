package prepare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/subid"
	"github.com/eyas-agent/eyas/agent/subid/sources"
	"github.com/eyas-agent/eyas/collectors/identity"
)

func TestContainerCgroup(t *testing.T) {
	id := strings.Repeat("5b", 32)
	for in, want := range map[string]string{
		"":                          "",
		"/":                         "/",
		"/init":                     "/",
		"/dev":                      "/dev",
		"/dev/init":                 "/dev",
		"/dev/init.scope":           "/dev/init.scope",
		"/dev/init/below":           "/dev/init/below",
		"/docker/" + id:             "/docker/" + id,
		"/docker/" + id + "/init":   "/docker/" + id,
		"/docker/" + id + "/a/init": "/docker/" + id,
		"/kubepods.slice/kubepods-burstable.slice/cri-containerd-" + id + ".scope/init": "/kubepods.slice/kubepods-burstable.slice/cri-containerd-" + id + ".scope",
		"/machine.slice/libpod-conmon-" + id + ".scope":                                 "/machine.slice/libpod-conmon-" + id + ".scope",
		"/a\n/init": "/a\n",
		// crun with systemd's driver, as against others.
		"/k.slice/cri-containerd-" + id + ".scope/container":        "/k.slice/cri-containerd-" + id + ".scope/container",
		"/k.slice/cri-containerd-" + id + ".scope/container/init":   "/k.slice/cri-containerd-" + id + ".scope/container",
		"/k.slice/cri-containerd-" + id + ".scope/containers":       "/k.slice/cri-containerd-" + id + ".scope",
		"/k.slice/cri-containerd-" + id + ".scope/a/container/init": "/k.slice/cri-containerd-" + id + ".scope",
		"/docker/" + id + "/container":                              "/docker/" + id,
	} {
		if got := containerCgroup(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Profiles are those of the options, and so is the default.
func TestProfile(t *testing.T) {
	ci := Profile{Name: "ci", IDs: IDsNone, MaxDepth: 3}
	p := &Preparer{o: Options{Profiles: append(Profiles(), ci), Default: "ci"}}
	for _, want := range p.o.Profiles {
		if got, err := p.profile(want.Name); err != nil || got != want {
			t.Errorf("%s: %+v, %v", want.Name, got, err)
		}
	}
	if got, err := p.profile(""); err != nil || got != ci {
		t.Errorf("the default: %+v, %v", got, err)
	}
	for _, name := range []string{" ", "DEV", "x\x1b\u202e", strings.Repeat("x", 10000)} {
		_, err := p.profile(name)
		if err == nil || !strings.Contains(err.Error(), "known are dev, build, ci") || len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x1b\u202e") {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}

func TestUnion(t *testing.T) {
	for _, tc := range []struct{ a, b, want []string }{
		{nil, nil, nil},
		{nil, []string{"x", "x"}, []string{"x"}},
		{[]string{"b", "a"}, []string{"c", "a"}, []string{"b", "a", "c"}},
	} {
		if got := union(tc.a, tc.b); !cmp.Equal(got, tc.want) {
			t.Errorf("%v + %v: %v", tc.a, tc.b, got)
		}
	}
}

// What the ledger keeps of a proof fits it, whatever the evidence.
func TestProofText(t *testing.T) {
	for _, text := range []string{"x", "ü", "\xff", "a\n\x1b[31m", "\u202e"} {
		p := subid.Proof{Liveness: subid.Released}
		for range 40 {
			p.Add(subid.Evidence{Answer: subid.Alive, Text: strings.Repeat(text, 99)})
		}
		s := proofText(p)
		if len(s) > 1024 || !utf8.ValidString(s) || !strings.HasPrefix(s, "alive; ") {
			t.Errorf("%d bytes: %q", len(s), s)
		}
	}
	if s := proofText(subid.Proof{Liveness: subid.Released}); s != "released" {
		t.Error(s)
	}
}

func TestDelegate(t *testing.T) {
	whole := []identity.Extent{{First: 0, Host: 300000, Count: 65536}}
	rootless := []identity.Extent{{First: 1000, Host: 301000, Count: 1}}
	for name, tc := range map[string]struct {
		owner    Owner
		m        []identity.Extent
		uid, gid uint32
		err      string
	}{
		"process":           {OwnerProcess, whole, 301000, 301001, ""},
		"process, no root":  {OwnerProcess, rootless, 301000, 301001, ""},
		"root":              {OwnerRoot, whole, 300000, 300000, ""},
		"root, there is no": {OwnerRoot, rootless, 0, 0, `use owner "process"`},
	} {
		uid, gid, err := delegate(Target{UID: 301000, GID: 301001, UIDs: tc.m, GIDs: tc.m}, Profile{Owner: tc.owner})
		if uid != tc.uid || gid != tc.gid || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %d:%d %v", name, uid, gid, err)
		}
	}
}

// bare is a Preparer without a hierarchy: grant needs none.
func bare(t *testing.T) *Preparer {
	t.Helper()
	dir := t.TempDir()
	o := Options{
		Dir: filepath.Join(dir, "leases"), Boot: "boot-2", Now: time.Now, fault: func(string) {},
		Host: sources.Host{Etc: dir, Proc: fakeProc(t).dir, Kubelet: dir},
		Pool: subid.Options{Range: subid.Range{Start: 1 << 30, Count: 4 * subid.BlockSize}},
	}
	l, err := ledger.Open(ledger.Options{Dir: o.Dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &Preparer{o: o, ledger: l}
	if err := p.restore(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Preparer) record(t *testing.T, l ledger.Lease, states ...ledger.State) {
	t.Helper()
	if _, err := p.ledger.Create(l); err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if _, err := p.ledger.Advance(l.ID, s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.restore(); err != nil {
		t.Fatal(err)
	}
}

func TestGrantRefuses(t *testing.T) {
	whole := []identity.Extent{{First: 0, Host: 300000, Count: 65536}}
	dev := Profiles()[0]
	with := func(change func(*Profile)) Profile { p := dev; change(&p); return p }
	host := Target{ID: "a", CgroupID: 7, Cgroup: "/a", UID: 1000, GID: 1000}
	own := Target{ID: "a", CgroupID: 7, Cgroup: "/a", UID: 301000, GID: 301000, OwnIDs: true, UIDs: whole, GIDs: whole}
	lease := ledger.Lease{ID: "a", Profile: "dev", CgroupID: 7, Cgroup: "/a", Boot: "boot-2", UID: 1000, GID: 1000, Range: ledger.Range{Start: 1 << 30, Count: 65536}}
	old := lease
	old.Boot = "boot-1"
	nested := ledger.Lease{ID: "a", Profile: "dev", CgroupID: 7, Cgroup: "/a", Boot: "boot-2", UID: 301000, GID: 301000, InPod: []string{"1000:1:999"}}
	elsewhere := host
	elsewhere.CgroupID = 8
	twin := host
	twin.ID = "b"
	for name, tc := range map[string]struct {
		t      Target
		pr     Profile
		lease  *ledger.Lease
		states []ledger.State
		want   string
	}{
		"id":                  {Target{ID: "A\x1b"}, dev, nil, nil, "lease id"},
		"no id":               {Target{}, dev, nil, nil, "lease id"},
		"ids":                 {host, with(func(p *Profile) { p.IDs = "x" }), nil, nil, "want auto, in-pod, host or none"},
		"in-pod without":      {host, with(func(p *Profile) { p.IDs = IDsInPod }), nil, nil, "use ids host"},
		"host with own":       {own, with(func(p *Profile) { p.IDs = IDsHost }), nil, nil, "use ids in-pod"},
		"not in its map":      {Target{ID: "a", UID: 5, OwnIDs: true, UIDs: whole, GIDs: whole}, dev, nil, nil, "its own map lacks"},
		"size":                {host, with(func(p *Profile) { p.Size = 1 << 20 }), nil, nil, "the whole pool"},
		"releasing":           {host, dev, &lease, []ledger.State{ledger.Releasing}, "is releasing"},
		"tombstone":           {host, dev, &lease, []ledger.State{ledger.Releasing, ledger.Tombstone}, "is tombstone"},
		"boot":                {host, dev, &old, nil, "earlier boot"},
		"profile":             {host, with(func(p *Profile) { p.Name = "build" }), &lease, []ledger.State{ledger.Done}, "with profile dev"},
		"cgroup":              {elsewhere, dev, &lease, []ledger.State{ledger.Done}, `cgroup "/a"`},
		"twin, releasing":     {twin, dev, &lease, []ledger.State{ledger.Releasing}, "lease a is releasing"},
		"another user":        {Target{ID: "b", CgroupID: 7, UID: 1, GID: 1}, dev, &lease, nil, "not 1 and 1"},
		"host ids for nested": {Target{ID: "b", CgroupID: 7, UID: 301000, GID: 301000}, dev, &nested, nil, "other ids than host"},
		"another map":         {own, dev, &nested, nil, "with the ids 1000:1:999"},
	} {
		p := bare(t)
		if tc.lease != nil {
			p.record(t, *tc.lease, tc.states...)
		}
		if _, _, err := p.grant(tc.t, tc.pr); err == nil || !strings.Contains(err.Error(), tc.want) || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestGrant(t *testing.T) {
	p := bare(t)
	dev := Profiles()[0]
	first, had, err := p.grant(Target{ID: "a", CgroupID: 7, UID: 1000, GID: 1000}, dev)
	if err != nil || had || first.Lease.Range != (ledger.Range{Start: 1 << 30, Count: 65536}) || first.Subuid != "1000:1073741824:65536\n" {
		t.Fatalf("%+v %v %v", first, had, err)
	}
	p.record(t, first.Lease, ledger.Done)
	twin, had, err := p.grant(Target{ID: "b", CgroupID: 7, UID: 1000, GID: 1000}, dev)
	if err != nil || !had || twin.Lease.ID != "a" || twin.Subuid != first.Subuid {
		t.Errorf("a process of the same cgroup: %+v %v %v", twin, had, err)
	}
	if l, ok := p.Owner(1<<30 + 5); !ok || l.ID != "a" {
		t.Errorf("owner: %+v %v", l, ok)
	}
	// nsswitch.conf hides who holds ids: nothing is leased.
	if err := os.WriteFile(filepath.Join(p.o.Host.Etc, "nsswitch.conf"), []byte("subid: sss\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.grant(Target{ID: "c", CgroupID: 8, UID: 1000, GID: 1000}, dev); err == nil || !strings.Contains(err.Error(), "nsswitch.conf") {
		t.Errorf("%v", err)
	}
}

func TestReleaseUnknown(t *testing.T) {
	p := bare(t)
	for _, id := range []string{"", "none", "x\x1b\n", strings.Repeat("../", 9999)} {
		_, err := p.Release(t.Context(), id, ReleaseOptions{})
		if !errors.Is(err, ledger.ErrNoLease) || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 400 {
			t.Errorf("%.20q: %.300v", id, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	p := bare(t)
	for i, states := range [][]ledger.State{nil, {ledger.Done}, {ledger.Releasing}, {ledger.Releasing, ledger.Tombstone}} {
		p.record(t, ledger.Lease{ID: fmt.Sprint(i), Range: ledger.Range{Start: 1<<30 + uint32(i)<<16, Count: 65536}}, states...)
	}
	const want = `
# HELP eyas_leases Leases on record, by state.
# TYPE eyas_leases gauge
eyas_leases{state="done"} 1
eyas_leases{state="intent"} 1
eyas_leases{state="releasing"} 1
eyas_leases{state="tombstone"} 1
# HELP eyas_leases_damaged Files of leases that could not be read; their ranges stay taken.
# TYPE eyas_leases_damaged gauge
eyas_leases_damaged 0
# HELP eyas_subid_ranges Blocks of 65536 host ids in the pool, by state.
# TYPE eyas_subid_ranges gauge
eyas_subid_ranges{state="blocked"} 0
eyas_subid_ranges{state="leased"} 2
eyas_subid_ranges{state="quarantined"} 1
eyas_subid_ranges{state="releasing"} 1
eyas_subid_ranges{state="rested"} 0
eyas_subid_ranges{state="unused"} 0
`
	if err := testutil.CollectAndCompare(p, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(p); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
