package daemon

import (
	"github.com/eyas-agent/eyas/collectors/cgroups"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
	"github.com/eyas-agent/eyas/collectors/oom"
)

// newKills returns who follows OOM kills; hierarchy may be nil.
func newKills(clock identity.Clock, hierarchy *cgroups.Hierarchy, memory oom.Memory) *oom.Kills {
	o := oom.Options{Memory: memory, Clock: clock, Pod: isPod}
	if hierarchy != nil {
		o.Path = hierarchy.Path
	}
	return oom.New(o)
}

// isPod reports whether a cgroup is a pod's own.
func isPod(path string) bool {
	refs := evidence.ParseCgroupPath(path)
	return len(refs) > 0 && refs[len(refs)-1].Pod() && refs[len(refs)-1].Prefix == path
}
