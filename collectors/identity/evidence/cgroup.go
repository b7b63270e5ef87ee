package evidence

import (
	"slices"
	"strings"
)

// Runtimes a cgroup path can name.
const (
	RuntimeContainerd = "containerd"
	RuntimeCRIO       = "cri-o"
	RuntimeDocker     = "docker"
	RuntimePodman     = "podman"
	RuntimeBuildah    = "buildah"
	RuntimeBuildkit   = "buildkit"
	RuntimeRunc       = "runc"
	RuntimeCrun       = "crun"
	RuntimeLXC        = "lxc"
	RuntimeLibvirtLXC = "libvirt-lxc"
	RuntimeNspawn     = "systemd-nspawn"
	// RuntimeKubernetes is a pod, not a container.
	RuntimeKubernetes = "kubernetes"
	// RuntimeCRI is a container that a kubelet asked some CRI runtime for: with
	// the cgroupfs driver the path does not say which.
	RuntimeCRI = "cri"
	// RuntimeOCI is a container whose path does not say who made it.
	RuntimeOCI = "oci"
)

const (
	maxPath       = 4096 // bytes of a path looked at; the kernel's own PATH_MAX
	maxComponents = 128
	maxRefs       = 32 // refs kept, the outermost: those are the ones a tenant cannot choose
)

// CgroupRef is one container, pod or build step that a cgroup path names.
type CgroupRef struct {
	Runtime string // one of the Runtime constants
	ID      string // the container's id as written there; "" for a pod
	// PodUID is the pod's UID with dashes, on the pod's ref and on the refs of
	// its own containers, not on containers nested in those. A static pod's is
	// the 32 hex digits of its manifest's hash. For Runtime podman it is the id
	// of podman's own pod.
	PodUID string
	QoS    string // guaranteed, burstable or besteffort below kubepods
	Prefix string // the path up to and including the naming component
	Conmon bool   // the container's monitor, not the container
	// Weak says that others use the same form of path: the id is free text, or
	// the runtime is a guess.
	Weak bool
}

// Pod reports whether the ref is a pod.
func (r CgroupRef) Pod() bool { return r.ID == "" }

// Contains reports whether a cgroup path lies in the ref's subtree.
func (r CgroupRef) Contains(path string) bool {
	return path == r.Prefix || strings.HasPrefix(path, r.Prefix+"/")
}

// Claim is the ref as a claim; a pod or a monitor makes none. Buildah names the cgroup
// of a RUN step by a temporary directory: what tells the container's id is stronger.
func (r CgroupRef) Claim() Claim {
	switch {
	case r.ID == "" || r.Conmon:
		return Claim{}
	case r.Weak, r.Runtime == RuntimeBuildah:
		return Claim{Runtime: r.Runtime, ID: r.ID, Source: SourceCgroupShape}
	}
	return Claim{Runtime: r.Runtime, ID: r.ID, Source: SourceCgroup}
}

// ParseCgroupPath returns the refs of a cgroup path (the third field of a line
// of /proc/PID/cgroup, of either cgroup version) from the outermost to the
// innermost. It is pure and bounded, and accepts any text.
//
// Component names hold no newline: cgroup_mkdir refuses it (kernel/cgroup/cgroup.c).
func ParseCgroupPath(path string) []CgroupRef {
	// cgroup v2 appends this to the path of a removed cgroup (cgroups(7)).
	path = strings.TrimSuffix(path, " (deleted)")
	if len(path) > maxPath {
		// The component that the cut goes through would be a made-up one.
		path = path[:strings.LastIndexByte(path[:maxPath], '/')+1]
	}
	w := walk{path: path}
	for start, n := 0, 0; start < len(path) && n < maxComponents; {
		end := start + strings.IndexByte(path[start:], '/')
		if end < start {
			end = len(path)
		}
		if end > start {
			w.step(path[start:end], end)
			n++
		}
		start = end + 1
	}
	w.finish()
	return w.refs
}

// BelowContainer returns the part of a cgroup path below the last component that
// is one of ids, "" if none is. A free-text id, as runc has, tells only whoever
// knows it where the container ends and those inside it begin.
func BelowContainer(path string, ids []string) string {
	path = path[:min(len(path), maxPath)]
	parts := strings.Split(path, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i] != "" && slices.Contains(ids, parts[i]) {
			return strings.TrimPrefix(path, strings.Join(parts[:i+1], "/"))
		}
	}
	return ""
}

// walk is the state of one pass over a path.
type walk struct {
	path   string
	parent string // the component before
	kube   bool   // below kubepods and not yet inside a container
	qos    string
	pod    string // the pod that the next container belongs to
	refs   []CgroupRef
	rest   []string // components since the innermost container, or since the root
	ends   []int    // where each of rest ends in path
}

func (w *walk) step(name string, end int) {
	w.rest, w.ends = append(w.rest, name), append(w.ends, end)
	defer func() { w.parent = name }()

	if g, ok := kubeGroup(name, w.kube); ok {
		w.kube = true
		w.qos, w.pod = g.qos, g.pod
		if g.qos == "" && (w.parent == "burstable" || w.parent == "besteffort") {
			w.qos = w.parent
		}
		if g.pod != "" {
			if w.qos == "" {
				w.qos = "guaranteed"
			}
			w.add(CgroupRef{Runtime: RuntimeKubernetes, PodUID: w.pod, QoS: w.qos}, end)
		}
		return
	}
	if id, ok := podmanPod(name, w.parent); ok {
		w.pod = id
		w.add(CgroupRef{Runtime: RuntimePodman, PodUID: id}, end)
		return
	}
	ref, ok := named(name, w.parent)
	if !ok && isHex64(name) {
		ref, ok = CgroupRef{Runtime: RuntimeOCI, ID: name, Weak: true}, true
		switch {
		case w.kube:
			ref.Runtime, ref.Weak = RuntimeCRI, false
		case isNamespace(w.parent):
			ref.Runtime = RuntimeContainerd
		}
	}
	if !ok {
		return
	}
	if ref.PodUID == "" {
		ref.PodUID, ref.QoS = w.pod, w.qos
	}
	w.add(ref, end)
	if !ref.Conmon {
		w.kube, w.qos, w.pod = false, "", ""
		w.rest, w.ends = w.rest[:0], w.ends[:0]
	}
}

func (w *walk) add(ref CgroupRef, end int) {
	if len(w.refs) < maxRefs {
		ref.Prefix = w.path[:end]
		w.refs = append(w.refs, ref)
	}
}

// finish looks for a free-text id, the way runc and ctr name a container by
// default: as the last component but leaves, directly below a container or the
// root, or below the directory of a containerd namespace.
func (w *walk) finish() {
	n := len(w.rest)
	for n > 0 && isLeaf(w.rest[n-1]) {
		n--
	}
	if n == 0 || !isFreeID(w.rest[n-1]) {
		return
	}
	if last := len(w.refs) - 1; last >= 0 && w.refs[last].Prefix == w.path[:w.ends[n-1]] {
		return // a pod or a monitor, and already said
	}
	ref := CgroupRef{Runtime: RuntimeRunc, ID: w.rest[n-1], Weak: true}
	switch {
	case n == 1:
	case n == 2 && isNamespace(w.rest[0]):
		ref.Runtime = RuntimeContainerd
	default:
		return
	}
	w.add(ref, w.ends[n-1])
}
