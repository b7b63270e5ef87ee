package evidence

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Sources of a Claim, strongest first.
const (
	SourceCgroup       = "cgroup"       // the runtime made a cgroup of that name
	SourceMounts       = "mounts"       // the runtime bind-mounted files of that container
	SourcePodman       = "podman-state" // containers/storage has a record of that id
	SourceDocker       = "docker-state" // dockerd has a record of that id
	SourceContainerenv = "containerenv" // the container's own /run/.containerenv
	SourceCgroupShape  = "cgroup-shape" // a Weak CgroupRef
	SourceUTS          = "uts"          // the host name
	SourceComm         = "comm"         // the name of the process that started it
)

// maxText bounds every string of a Claim, in bytes. A repository's name may have
// 255 (distribution/reference); of such a one the tag or digest is cut.
const maxText = 256

// Claim is one answer to "what is this container?". Its text is bounded, valid
// UTF-8 without NUL, and raw.
type Claim struct {
	Runtime string
	ID      string
	Name    string
	Image   string
	Source  string // which evidence; Merge joins several with "+"
}

func strength(source string) int {
	i := slices.Index([]string{
		SourceCgroup, SourceMounts, SourcePodman, SourceDocker,
		SourceContainerenv, SourceCgroupShape, SourceUTS, SourceComm,
	}, source)
	if i < 0 {
		return 1 << 10
	}
	return i
}

// Merge puts claims about one container together: each field is taken from the
// strongest claim that has it. A claim with another id than a stronger one is
// about another container and gives nothing, so that no tenant's file can hang
// a name on a container whose id the kernel has told. Claims of one strength
// count in the order given.
func Merge(claims []Claim) Claim {
	claims = slices.Clone(claims)
	slices.SortStableFunc(claims, func(a, b Claim) int { return cmp.Compare(strength(a.Source), strength(b.Source)) })
	var m Claim
	var sources []string
	for _, c := range claims {
		if m.ID != "" && c.ID != "" && !sameID(m.ID, c.ID) {
			continue
		}
		before := m
		m.Runtime = mergeRuntime(m, c)
		m.ID = cmp.Or(m.ID, c.ID)
		m.Name = cmp.Or(m.Name, c.Name)
		m.Image = cmp.Or(m.Image, c.Image)
		if m != before && c.Source != "" && !slices.Contains(sources, c.Source) {
			sources = append(sources, c.Source)
		}
	}
	m.Source = strings.Join(sources, "+")
	return m
}

// mergeRuntime lets a weaker claim about the same id replace what is only the
// kind of a runtime, or the low-level one that an engine drives.
func mergeRuntime(m, c Claim) string {
	switch m.Runtime {
	case RuntimeCRI, RuntimeOCI, RuntimeRunc, RuntimeCrun:
		if c.Runtime != "" && sameID(m.ID, c.ID) {
			return c.Runtime
		}
	}
	return cmp.Or(m.Runtime, c.Runtime)
}

// shortID is the length of the ids that docker and podman show, and give a
// container as its host name.
const shortID = 12

// sameID reports whether weaker is id or the short form of it.
func sameID(id, weaker string) bool {
	return id != "" && (id == weaker || len(weaker) >= shortID && strings.HasPrefix(id, weaker))
}

// HostnameClaim is what a container's UTS host name tells: a short id if it
// looks like one, else a name. Whoever is root inside may set it; a container in
// its parent's UTS namespace has its parent's, which the caller must not ask about.
func HostnameClaim(name string) Claim {
	switch {
	case name == "":
		return Claim{}
	case len(name) == shortID && all(name, isHexDigit):
		return Claim{ID: name, Source: SourceUTS}
	}
	return Claim{Name: Sanitize(name, maxText), Source: SourceUTS}
}

// CommClaim is what the comm of a container's parent process tells.
func CommClaim(comm string) Claim {
	if e := EngineFromComm(comm); e != "" {
		return Claim{Runtime: e, Source: SourceComm}
	}
	return Claim{}
}

// Sanitize bounds raw text to max bytes, cut between runes, takes NUL out and
// makes bytes that are no UTF-8 U+FFFD, so that it can stand in a label or a
// protobuf string. Escape sequences stay: escaping is the printer's.
func Sanitize(s string, max int) string {
	s = cut(s, max)
	s = strings.ReplaceAll(s, "\x00", "")
	return cut(strings.ToValidUTF8(s, string(utf8.RuneError)), max)
}

func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// EngineFromComm names the engine that a container's parent process belongs
// to, by its comm (15 bytes, set by the process itself: the weakest evidence);
// "" if unknown. conmon serves CRI-O too, which names itself in the cgroup.
func EngineFromComm(comm string) string {
	switch comm {
	case "conmon", "conmonrs", "podman", "catatonit":
		return RuntimePodman
	case "dockerd", "docker-init", "docker-containe":
		return RuntimeDocker
	case "buildkitd", "buildkit-runc", "rootless-buildk":
		return RuntimeBuildkit
	case "containerd", "containerd-shim", "nerdctl", "ctr":
		return RuntimeContainerd
	case "buildah":
		return RuntimeBuildah
	case "crio":
		return RuntimeCRIO
	case "runc":
		return RuntimeRunc
	case "crun":
		return RuntimeCrun
	case "lxc-start":
		return RuntimeLXC
	case "systemd-nspawn":
		return RuntimeNspawn
	}
	return ""
}
