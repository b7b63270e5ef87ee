package oom

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// A kill is at the limit that the kernel tells, or that its counts lead to.
func TestLimit(t *testing.T) {
	db, web := cgroup(4, 4, 31, 32, 1), cgroup(3, 3, 40, 100, 0)
	around := []bpf.Memcg{unlimited(2, 2, 50, 0), unlimited(1, 1, 60, 0)}
	in := func(m ...bpf.Memcg) *bpf.Victim { return victim(41, 100, 4, append(m, around...)...) }
	limit := func(scope identity.OOMScope, source identity.OOMSource, cgroup string, usage, most uint64) identity.OOMLimit {
		l := identity.OOMLimit{Scope: scope, Source: source, Cgroup: cgroup}
		if usage > 0 {
			l.Usage = number(usage << 20)
		}
		if most > 0 {
			l.Max = number(most << 20)
		}
		return l
	}
	for _, tc := range []struct {
		name  string
		v     *bpf.Victim
		want  identity.OOMLimit
		level int // of the container whose limit it is
	}{
		{"told: the container", told(in(db, web), 9, db), limit(identity.OOMContainer, identity.OOMTold, paths[4], 31, 32), 2},
		{"told: the sandbox", told(in(db, web), 9, web), limit(identity.OOMContainer, identity.OOMTold, paths[3], 40, 100), 1},
		{"told: the pod", told(in(db, web), 9, around[0]), limit(identity.OOMPod, identity.OOMTold, pod, 50, 0), 0},
		{"told: above", told(in(db, web), 9, around[1]), limit(identity.OOMCgroup, identity.OOMTold, "/kube", 60, 0), 0},
		{"told: the node", told(in(db, web), 9, bpf.Memcg{}), limit(identity.OOMNode, identity.OOMTold, "", 0, 0), 0},
		{"told: v1", told(in(), 9, old(db)), limit(identity.OOMV1, identity.OOMTold, "", 31, 32), 0},
		{"told: what the sandbox made", told(victim(50, 100, 5), 9, cgroup(7, 4, 1, 2, 1)), limit(identity.OOMInside, identity.OOMTold, paths[7], 1, 2), 1},
		{"told: not a process of a container", told(victim(60, 100, 6), 9, cgroup(6, 2, 1, 2, 1)), limit(identity.OOMCgroup, identity.OOMTold, paths[6], 1, 2), 0},
		{"told: a cgroup that is gone", told(victim(60, 100, 6), 9, cgroup(66, 2, 1, 2, 1)), limit(identity.OOMUnknown, identity.OOMTold, "", 1, 2), 0},
		{"inferred: the container", in(db, web), limit(identity.OOMContainer, identity.OOMInferred, paths[4], 31, 32), 2},
		{"inferred: the sandbox", in(unlimited(4, 4, 30, 0), cgroup(3, 3, 100, 100, 1)), limit(identity.OOMContainer, identity.OOMInferred, paths[3], 100, 100), 1},
		{"inferred: the fuller of two", in(cgroup(4, 4, 31, 32, 1), cgroup(3, 3, 100, 100, 4)), limit(identity.OOMContainer, identity.OOMInferred, paths[3], 100, 100), 1},
		{"inferred: full, but never out of memory", in(cgroup(4, 4, 32, 32, 0), cgroup(3, 3, 99, 100, 1)), limit(identity.OOMContainer, identity.OOMInferred, paths[3], 99, 100), 1},
		{"inferred: the node, what was long ago is no reason", in(cgroup(4, 4, 1, 32, 9), web), limit(identity.OOMNode, identity.OOMInferred, "", 0, 0), 0},
		{"not known: not read", in(unread(db), web), limit(identity.OOMUnknown, "", "", 0, 0), 0},
		{"not known: no cgroups", victim(41, 100, 4), limit(identity.OOMUnknown, "", "", 0, 0), 0},
	} {
		k, m := newKills()
		table := world()
		k.Victim(table, tc.v)
		got := m.all[0].Limit
		if c := table.Container(got.Container); (c == nil) != (tc.level == 0) || c != nil && c.Level != tc.level {
			t.Errorf("%s: of container %+v, want level %d", tc.name, c, tc.level)
		}
		got.Container = ""
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
		if n := testutil.ToFloat64(k.counts.WithLabelValues(string(tc.want.Scope), string(tc.want.Source))); n != 1 {
			t.Errorf("%s: counted %v times", tc.name, n)
		}
	}
}

// Where counts were seen before, the one that rose tells, wherever it is full.
func TestRise(t *testing.T) {
	k, m := newKills()
	table := world()
	for i, tc := range []struct {
		db, web bpf.Memcg
		want    string
	}{
		{cgroup(4, 4, 32, 32, 5), cgroup(3, 3, 50, 100, 2), paths[4]},
		{cgroup(4, 4, 32, 32, 5), cgroup(3, 3, 80, 100, 3), paths[3]},
		{cgroup(4, 4, 10, 32, 6), cgroup(3, 3, 100, 100, 3), paths[4]},
		{cgroup(4, 4, 32, 32, 6), cgroup(3, 3, 100, 100, 3), ""}, // the node's
	} {
		k.Victim(table, victim(41, 100+uint64(i), 4, tc.db, tc.web))
		if got := m.all[len(m.all)-1].Limit.Cgroup; len(m.all) != i+1 || got != tc.want {
			t.Errorf("%d: limit of %q, want %q, %d kills", i, got, tc.want, len(m.all))
		}
	}
}

func TestOutwards(t *testing.T) {
	for _, tc := range []struct {
		path  string
		level int
		want  string
	}{
		{"/a/b/c", 1, "/a"}, {"/a/b/c", 2, "/a/b"}, {"/a/b/c", 3, "/a/b/c"}, {"/a/b/c", 4, ""}, {"/a/b/c", 0, ""}, {"/a", 1, "/a"},
		{"/", 1, ""}, {"", 1, ""}, {"/a/b", -1, ""},
	} {
		if got := outwards(tc.path, tc.level); got != tc.want {
			t.Errorf("%s at %d: %q, want %q", tc.path, tc.level, got, tc.want)
		}
	}
	problems, err := testutil.CollectAndLint(New(Options{}))
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
