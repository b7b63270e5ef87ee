package oom

import (
	"math"
	"strings"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// limit says at which cgroup's limit a victim is killed; nil with a source: at
// no cgroup's, the machine's memory is used up. Without a source it is not known.
func (k *Kills) limit(v *bpf.Victim) (*bpf.Memcg, identity.OOMSource) {
	if v.Kill != 0 {
		if v.Limit == (bpf.Memcg{}) {
			return nil, identity.OOMTold
		}
		return &v.Limit, identity.OOMTold
	}
	// The kernel counts an OOM right in the cgroup whose limit it is at, before
	// it kills. A cgroup that was never looked at may have counted long ago: it
	// must be at its limit, too.
	var rose, full *bpf.Memcg
	known := !v.Cut && len(v.Memcgs) > 0
	for i := range v.Memcgs {
		m := &v.Memcgs[i]
		known = known && m.Read
		was, counted := k.ooms[m.Cgroup]
		switch {
		case !m.Read || m.OOMs == 0 || counted && m.OOMs <= was:
		case counted && (rose == nil || room(m) < room(rose)):
			rose = m
		case !counted && room(m) <= slack(m) && (full == nil || room(m) < room(full)):
			full = m
		}
	}
	switch {
	case rose != nil:
		return rose, identity.OOMInferred
	case full != nil:
		return full, identity.OOMInferred
	case known:
		return nil, identity.OOMInferred
	}
	return nil, ""
}

// room is how much may still be used.
func room(m *bpf.Memcg) uint64 {
	if m.Max == math.MaxUint64 {
		return math.MaxUint64
	}
	return m.Max - min(m.Usage, m.Max)
}

// slack is how much a cgroup that is at its limit may seem to have left: what
// was reclaimed in vain, and what CPUs hold back.
func slack(m *bpf.Memcg) uint64 { return max(m.Max/32, 256<<10) }

// note keeps the counts of all cgroups around a victim for the next one.
func (k *Kills) note(v *bpf.Victim) {
	for i := range v.Memcgs {
		if m := &v.Memcgs[i]; m.Read {
			k.count(m.Cgroup, m.OOMs)
		}
	}
	if v.Kill != 0 && v.Limit.Read {
		k.count(v.Limit.Cgroup, v.Limit.OOMs)
	}
}

func (k *Kills) count(cgroup, ooms uint64) {
	if _, known := k.ooms[cgroup]; !known && len(k.ooms) >= maxCounted {
		for other := range k.ooms { // any: it is looked at anew
			delete(k.ooms, other)
			break
		}
	}
	k.ooms[cgroup] = ooms
}

func (k *Kills) describeLimit(t *identity.Table, v *bpf.Victim, m *bpf.Memcg, source identity.OOMSource) identity.OOMLimit {
	out := identity.OOMLimit{Scope: identity.OOMUnknown, Source: source}
	switch {
	case source == "":
		return out
	case m == nil:
		out.Scope = identity.OOMNode
		return out
	}
	if m.Read {
		usage, limit := m.Usage, m.Max
		out.Usage = &usage
		if limit != math.MaxUint64 {
			out.Max = &limit
		}
	}
	if m.V1 {
		out.Scope = identity.OOMV1
		return out
	}
	var chain []*identity.Container
	if p := t.Process(identity.HostPID(v.PID)); p != nil && p.Key.Start == v.Start {
		chain = p.Container.Chain()
	}
	path := k.path(t, v, m)
	out.Cgroup = identity.Valid(path)
	out.Scope, out.Container = k.scope(path, chain)
	return out
}

// path is where a cgroup around a victim is, or was.
func (k *Kills) path(t *identity.Table, v *bpf.Victim, m *bpf.Memcg) (path string) {
	if m.V1 {
		return ""
	}
	if p := t.Process(identity.HostPID(v.PID)); p != nil && p.Key.Start == v.Start && p.Cgroup != nil {
		path = outwards(p.Cgroup.Path, m.Level)
	}
	if path == "" && k.o.Path != nil {
		path = k.o.Path(m.Cgroup)
	}
	return path
}

// group returns the outermost cgroup at or below the limit whose processes die
// together, if a victim is in one.
func group(v *bpf.Victim, limit uint64) (g *bpf.Memcg) {
	for i := range v.Memcgs {
		m := &v.Memcgs[i]
		if m.Group {
			g = m
		}
		if m.Cgroup == limit {
			break
		}
	}
	return g
}

// outwards cuts a cgroup's path to its ancestor at a level; "" when it is not
// as deep. The limit of a kill is around the victim, and removed cgroups have no
// path of their own.
func outwards(path string, level int) string {
	if path == "" || level < 1 {
		return ""
	}
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if level--; level == 0 {
			return path[:i]
		}
	}
	if level == 1 && path != "/" {
		return path
	}
	return ""
}

// scope says whose a cgroup is, as seen from a chain of containers.
func (k *Kills) scope(path string, chain []*identity.Container) (identity.OOMScope, string) {
	if path == "" {
		return identity.OOMUnknown, ""
	}
	for i := len(chain) - 1; i >= 0; i-- {
		c := chain[i]
		if c.Root == "" || c.Root == "/" || !within(path, c.Root) {
			continue
		}
		// A container without a cgroup of its own is in one of those around it.
		for i > 0 && chain[i-1].Root == c.Root {
			i--
		}
		if path == c.Root {
			return identity.OOMContainer, chain[i].ID
		}
		return identity.OOMInside, chain[i].ID
	}
	if k.o.Pod != nil && k.o.Pod(path) {
		return identity.OOMPod, ""
	}
	return identity.OOMCgroup, ""
}

func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }
