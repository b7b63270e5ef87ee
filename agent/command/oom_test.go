package command

import (
	"strings"
	"testing"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// Whose limit it was, who died and who beside it, of every kind there is.
func TestOOMOutput(t *testing.T) {
	at := time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)
	who := sample(at)
	who.Chain[1].Name, who.Chain[2].Name = "dev\\box", "build"
	chain := []identity.OOMLink{{ID: "33e9d68c4816", Name: "dev\\box", Runtime: "podman", Level: 1}, {ID: "393dc72765dc", Name: "build", Level: 2}}
	victim := func(comm string, pid identity.HostPID, rss uint64) identity.OOMVictimAnswer {
		return identity.OOMVictimAnswer{
			Comm: comm, Time: at, Host: identity.Host{PID: pid, UID: 200000, StartTime: at}, PIDs: who.PIDs, Cgroup: "/pod/web/build\x1b",
			RSS: rss, Memory: identity.OOMMemory{Anon: rss}, ScoreAdj: -5, Chain: who.Chain,
		}
	}
	limit := func(scope identity.OOMScope, source identity.OOMSource, cgroup string, usage, most *uint64, chain ...identity.OOMLink) identity.OOMLimitAnswer {
		l := identity.OOMLimit{Scope: scope, Source: source, Cgroup: cgroup, Usage: usage, Max: most}
		if len(chain) > 0 {
			l.Container = chain[len(chain)-1].ID
		}
		return identity.OOMLimitAnswer{OOMLimit: l, Chain: chain}
	}
	one := func(l identity.OOMLimitAnswer) identity.OOMAnswer {
		return identity.OOMAnswer{Time: at, By: 9, Limit: l, Victims: []identity.OOMVictimAnswer{victim("tail", 20671, 33<<20)}}
	}
	mib := ptr(uint64(32 << 20))
	group := one(limit(identity.OOMContainer, identity.OOMTold, "/pod/web/build", mib, mib, chain...))
	group.Group, group.More = "/pod/web/build", 7
	group.Victims = append(group.Victims, victim("sh\n", 20672, 1<<20), victim("sleep", 20673, 1<<20), victim("cc1", 20674, 1<<20))
	host := one(limit(identity.OOMNode, identity.OOMInferred, "", nil, nil))
	host.Victims[0].Chain, host.Victims[0].PIDs = who.Chain[:1], who.PIDs[:1]
	forgotten := limit(identity.OOMContainer, identity.OOMTold, "/x", mib, mib)
	forgotten.Container = "0123456789ab"
	a := &agent{kills: []identity.OOMAnswer{
		group, one(limit(identity.OOMContainer, identity.OOMTold, "/pod/web", mib, nil, chain[0])),
		one(limit(identity.OOMInside, identity.OOMTold, "/pod/web/jobs", mib, mib, chain[0])),
		one(limit(identity.OOMPod, identity.OOMInferred, "/pod", mib, mib)), one(limit(identity.OOMCgroup, identity.OOMTold, "/kube\u202e", mib, mib)),
		one(limit(identity.OOMV1, identity.OOMTold, "", mib, mib)), host, one(limit(identity.OOMUnknown, "", "", nil, nil)), one(forgotten),
	}}
	socket := serve(t, a)
	for _, args := range []string{"oom", "oom -o wide", "oom -o json"} {
		code, out, errs := run(t, append(strings.Fields(args), "--socket", socket)...)
		same(t, args+": code, stderr", []any{0, ""}, []any{code, errs})
		golden(t, strings.ReplaceAll(args, " -o ", "-"), out)
	}
}
