package evidence

import "strings"

// named recognises a component that names its runtime, alone or by its parent.
func named(name, parent string) (CgroupRef, bool) {
	// A runtime that was given systemd's "slice:prefix:id" while it drives
	// cgroupfs makes a directory of that very name: dockerd's build steps, and
	// containerd with SystemdCgroup=false under a kubelet with the systemd driver.
	if p := strings.Split(name, ":"); len(p) == 3 {
		ref, ok := scope(p[1] + "-" + p[2])
		if g, kube := kubeGroup(p[0], false); ok && kube && g.pod != "" {
			ref.PodUID, ref.QoS = g.pod, g.qos
			if ref.QoS == "" {
				ref.QoS = "guaranteed"
			}
		}
		return ref, ok
	}
	if base, ok := strings.CutSuffix(name, ".scope"); ok {
		if m, ok := strings.CutPrefix(base, "machine-"); ok {
			return machine(m)
		}
		return scope(base)
	}
	if m, ok := strings.CutPrefix(name, "systemd-nspawn@"); ok {
		m, ok = strings.CutSuffix(m, ".service")
		m = unescapeUnit(m)
		return CgroupRef{Runtime: RuntimeNspawn, ID: m}, ok && isName(m)
	}
	if m, ok := strings.CutPrefix(name, "lxc.payload."); ok {
		return CgroupRef{Runtime: RuntimeLXC, ID: m}, isName(m)
	}
	switch parent {
	case "docker":
		if isHex64(name) {
			return CgroupRef{Runtime: RuntimeDocker, ID: name}, true
		}
		return CgroupRef{Runtime: RuntimeBuildkit, ID: name}, isBuildkitID(name)
	case "buildkit":
		return CgroupRef{Runtime: RuntimeBuildkit, ID: name}, isBuildkitID(name)
	case "lxc", "lxc.payload":
		return CgroupRef{Runtime: RuntimeLXC, ID: name}, isName(name) && !isLeaf(name)
	}
	// With the cgroupfs driver these keep their prefix and have no suffix.
	if strings.HasPrefix(name, "libpod-") || strings.HasPrefix(name, "crio-") || strings.HasPrefix(name, "buildah-") {
		return scope(name)
	}
	return CgroupRef{}, false
}

// scope recognises "<prefix>-<id>", a scope's name without its suffix.
func scope(base string) (CgroupRef, bool) {
	// The longer prefix stands before the one it starts with.
	for _, p := range [...]struct {
		prefix, runtime string
		conmon          bool
	}{
		{prefix: "cri-containerd-", runtime: RuntimeContainerd},
		{prefix: "nerdctl-", runtime: RuntimeContainerd},
		{prefix: "crio-conmon-", runtime: RuntimeCRIO, conmon: true},
		{prefix: "crio-", runtime: RuntimeCRIO},
		{prefix: "libpod-conmon-", runtime: RuntimePodman, conmon: true},
		{prefix: "libpod-payload-", runtime: RuntimePodman}, // --cgroups=split, as quadlet does
		{prefix: "libpod-", runtime: RuntimePodman},
		{prefix: "docker-", runtime: RuntimeDocker},
	} {
		id, ok := strings.CutPrefix(base, p.prefix)
		if ok && isHex64(id) {
			return CgroupRef{Runtime: p.runtime, ID: id, Conmon: p.conmon}, true
		}
	}
	if id, ok := cutEither(base, "docker-", "buildkit-"); ok {
		return CgroupRef{Runtime: RuntimeBuildkit, ID: id}, isBuildkitID(id)
	}
	if id, ok := strings.CutPrefix(base, "runc-"); ok {
		return oci(RuntimeRunc, id)
	}
	if id, ok := strings.CutPrefix(base, "crun-"); ok {
		return oci(RuntimeCrun, id)
	}
	return CgroupRef{Runtime: RuntimeBuildah, ID: base}, isBuildahID(base)
}

// oci is a container that runc or crun put into a scope of its own; buildah
// leaves that choice to them.
func oci(runtime, id string) (CgroupRef, bool) {
	if isBuildahID(id) {
		runtime = RuntimeBuildah
	}
	return CgroupRef{Runtime: runtime, ID: id}, isName(id)
}

// machine recognises the name of a scope that systemd-machined made. Virtual
// machines are there too, and are not containers.
func machine(m string) (CgroupRef, bool) {
	m = unescapeUnit(m)
	if strings.HasPrefix(m, "qemu-") {
		return CgroupRef{}, false
	}
	if id, ok := strings.CutPrefix(m, "lxc-"); ok {
		return CgroupRef{Runtime: RuntimeLibvirtLXC, ID: id}, isName(id)
	}
	return CgroupRef{Runtime: RuntimeNspawn, ID: m}, isName(m)
}

type kubeName struct{ qos, pod string }

// kubeGroup recognises the groups a kubelet makes: kubepods, a QoS class, a
// pod. With the systemd driver the name holds the whole way down, after
// whatever --cgroup-root put before it (kind: kubelet-kubepods-burstable.slice);
// with the cgroupfs driver it counts only below kubepods.
func kubeGroup(name string, below bool) (kubeName, bool) {
	if base, ok := strings.CutSuffix(name, ".slice"); ok {
		i := strings.Index("-"+base+"-", "-kubepods-")
		if i < 0 {
			return kubeName{}, false
		}
		rest := strings.TrimPrefix(base[i+len("kubepods"):], "-")
		var g kubeName
		for _, qos := range [...]string{"burstable", "besteffort"} {
			if rest == qos {
				return kubeName{qos: qos}, true
			}
			if r, ok := strings.CutPrefix(rest, qos+"-"); ok {
				g.qos, rest = qos, r
			}
		}
		if rest == "" {
			return g, true
		}
		g.pod, ok = podUID(rest)
		return g, ok
	}
	switch {
	case name == "kubepods":
		return kubeName{}, true
	case !below:
		return kubeName{}, false
	case name == "burstable" || name == "besteffort":
		return kubeName{qos: name}, true
	}
	uid, ok := podUID(name)
	return kubeName{pod: uid}, ok
}

// podUID takes "pod<uid>", where systemd's driver wrote "_" for "-".
func podUID(s string) (string, bool) {
	s, ok := strings.CutPrefix(s, "pod")
	if !ok || s == "" || len(s) > 64 {
		return "", false
	}
	s = strings.ReplaceAll(s, "_", "-")
	return s, all(s, func(c byte) bool { return isHexDigit(c) || c == '-' })
}

// podmanPod takes machine-libpod_pod_<id>.slice, user-libpod_pod_<id>.slice or,
// with the cgroupfs driver, libpod_parent/<id>.
func podmanPod(name, parent string) (string, bool) {
	if parent == "libpod_parent" && isHex64(name) {
		return name, true
	}
	_, id, ok := strings.Cut(strings.TrimSuffix(name, ".slice"), "libpod_pod_")
	return id, ok && isHex64(id)
}
