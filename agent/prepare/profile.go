package prepare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eyas-agent/eyas/agent/delegation"
	"github.com/eyas-agent/eyas/agent/subid"
)

// IDs says where the ids of nested containers come from.
type IDs string

const (
	// IDsAuto is IDsInPod for a container with a user namespace of its own, and
	// IDsHost for one without.
	IDsAuto  IDs = "auto"
	IDsInPod IDs = "in-pod" // from the container's own map
	IDsHost  IDs = "host"   // a leased range of host ids
	IDsNone  IDs = "none"
)

// Owner says to whom the cgroup is given.
type Owner string

const (
	// OwnerProcess is the user of the container's process, which is what rootless
	// podman asks for: it looks whether the cgroup is its own user's.
	OwnerProcess Owner = "process"
	// OwnerRoot is the root of the container's user namespace.
	OwnerRoot Owner = "root"
)

// Profile is what a container gets.
type Profile struct {
	Name           string
	IDs            IDs
	Size           uint32 // ids of a leased range; rounded up to 65536
	Files          bool   // mount /etc/subuid and /etc/subgid in the container
	Delegate       bool   // hand the cgroup over
	Owner          Owner
	MaxDescendants uint32 // bounds of the cgroups inside
	MaxDepth       uint32
}

// Profiles are the built-in ones, the default first: dev for people who run
// any engine inside, build for a builder as the root of its own namespace.
func Profiles() []Profile {
	dev := Profile{
		Name: "dev", IDs: IDsAuto, Size: subid.BlockSize, Files: true, Delegate: true, Owner: OwnerProcess,
		MaxDescendants: delegation.DefaultMaxDescendants, MaxDepth: delegation.DefaultMaxDepth,
	}
	build := dev
	build.Name, build.MaxDescendants = "build", 128
	return []Profile{dev, build}
}

// profile finds one of the configured profiles; "" is the default. The error
// lists those there are.
func (p *Preparer) profile(name string) (Profile, error) {
	if name == "" {
		name = p.o.Default
	}
	all := p.o.Profiles
	if i := slices.IndexFunc(all, func(p Profile) bool { return p.Name == name }); i >= 0 {
		return all[i], nil
	}
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return Profile{}, fmt.Errorf("profile %.64q is unknown: known are %s", name, strings.Join(names, ", "))
}
