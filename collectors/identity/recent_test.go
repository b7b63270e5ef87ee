package identity

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
)

// What the kernel counted for one container stays that one's after its end, also
// when another lives in the same pid namespace.
func TestCounted(t *testing.T) {
	const hostPIDNS, hostUserNS, pidns, userns = 1, 2, 7, 8
	table := NewTable(Options{Boot: "b"})
	put := func(pid uint32, user ...uint32) string {
		r := &bpf.Process{
			Kind: bpf.KindFork, Time: uint64(pid), Start: uint64(pid), PID: pid, Threads: 1,
			PIDLevels:  []bpf.Level{{PID: pid, PIDNS: hostPIDNS}, {PID: pid, PIDNS: pidns, PIDNSStart: 5, PIDNSOwner: hostUserNS}},
			UserLevels: []bpf.Level{{UserNS: hostUserNS}},
		}
		for _, ns := range user {
			r.UserLevels = append(r.UserLevels, bpf.Level{UserNS: ns})
		}
		table.Apply(r)
		return table.Process(HostPID(pid)).Container.ID
	}
	die := func(pid uint32) { table.Apply(&bpf.Exit{Time: 1000, Start: uint64(pid), PID: pid}) }
	counted := func(user uint32, was string) string {
		return table.Counted(NSKey{Inum: pidns, Gen: 5}, user, 0, was)
	}
	if got := counted(userns, ""); got != "" {
		t.Errorf("before anybody is known: %q", got)
	}
	outer := put(10)
	early := counted(userns, "")
	inner := put(20, userns)
	deeper := put(30, userns, 9)
	if outer == inner || inner == deeper {
		t.Fatal("the test means three containers")
	}
	check := func(what, want, got string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	check("not told yet, so the one around it", outer, early)
	check("told", inner, counted(userns, early))
	check("the one around it", outer, counted(hostUserNS, ""))
	die(20)
	check("others live in it", inner, counted(userns, inner))
	die(30)
	check("gone, beside one that lives", inner, counted(userns, inner))
	check("gone, and not asked for before", outer, counted(userns, ""))
	again := put(40, userns)
	check("another one in its place", again, counted(userns, inner))
	die(40)
	die(10)
	check("all are gone", outer, counted(hostUserNS, outer))
	check("all are gone, and not asked for before", outer, counted(hostUserNS, ""))
	check("all are gone, and it was a nested one's", inner, counted(userns, inner))
}
