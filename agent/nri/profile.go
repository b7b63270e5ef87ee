package nri

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/nri/pkg/api"

	"github.com/eyas-agent/eyas/agent/prepare"
)

// Annotation of a pod makes it a sandbox: "true", or the name of a profile.
// "false" opts out.
const Annotation = "eyas.dev/sandbox"

// Profile is what a sandbox gets. Each adjustment can be switched off.
type Profile struct {
	prepare.Profile
	Devices  []string          // of the host; those that it lacks are left out
	Bounds   bool              // cgroup.max.descendants and cgroup.max.depth from the start
	CgroupRW bool              // /sys/fs/cgroup writable, in containers with a cgroup namespace
	Env      map[string]string // what the container sets itself stays
	Required bool              // a container that cannot be prepared does not start
	Late     bool              // also containers that run already are prepared
}

// Profiles are those of package prepare, with what only a runtime can do.
func Profiles() []Profile {
	var all []Profile
	for _, p := range prepare.Profiles() {
		all = append(all, Profile{Profile: p, Devices: []string{"/dev/fuse", "/dev/net/tun"}, Bounds: true, CgroupRW: true})
	}
	return all
}

// errRefused: an annotation that is no choice.
var errRefused = errors.New("refused")

// refusal is that annotation. What the pod says is in Text alone.
type refusal struct {
	Text string // escaped, and bounded
	Want string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("annotation %s: %v: %s is no profile: want %s", Annotation, errRefused, r.Text, r.Want)
}

func (r *refusal) Unwrap() error { return errRefused }

// choose tells which profile a pod gets, if any. The annotation comes first, then
// the defaults of its namespace and of its runtime handler.
func (p *Plugin) choose(pod *api.PodSandbox) (pr Profile, wanted bool, err error) {
	name, ok := pod.GetAnnotations()[Annotation]
	switch {
	case ok && name == "false":
		return pr, false, nil
	case ok && name == "true":
		name = p.o.Default
	case ok:
	default:
		if name, ok = p.o.Namespaces[pod.GetNamespace()]; !ok {
			if name, ok = p.o.Handlers[pod.GetRuntimeHandler()]; !ok {
				return pr, false, nil
			}
		}
	}
	if pr, err = named(p.o.Profiles, name); err != nil {
		return pr, false, &refusal{quote(name), "true, false, " + names(p.o.Profiles)}
	}
	return pr, true, nil
}

func named(all []Profile, name string) (Profile, error) {
	if i := slices.IndexFunc(all, func(p Profile) bool { return p.Name == name }); i >= 0 {
		return all[i], nil
	}
	return Profile{}, fmt.Errorf("%s is no profile: want %s", quote(name), names(all))
}

func names(all []Profile) string {
	var known []string
	for _, p := range all {
		known = append(known, p.Name)
	}
	return strings.Join(known, ", ")
}

// Bounds of text from a pod, in bytes.
const (
	maxQuoted = 40
	maxName   = 253 // a Kubernetes name
)

// quote makes hostile text fit for a log.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(strings.ToValidUTF8(s[:maxQuoted], "")) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// clean makes a name fit for the ledger and for logs: plain names stay as they are.
func clean(s string) string {
	s = s[:min(len(s), maxName)]
	q := strconv.QuoteToASCII(s)
	return q[1 : len(q)-1]
}
