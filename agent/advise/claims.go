package advise

// Claim is something to do, or to leave, wherever containers run in containers.
type Claim struct {
	ID     string   `json:"id"` // of its anchor in the decision guide, too
	Topic  string   `json:"topic"`
	Text   string   `json:"text"`
	Source string   `json:"source"` // a document, a command that shows it, or a test of this repository
	Only   Workload `json:"-"`      // the workload that it matters to; empty: all
	Checks []string `json:"-"`      // of doctor, on a node: how it stands here
}

// Topics, in the order of the guide.
const (
	isolation = "isolation"
	ids       = "ids"
	cgroups   = "cgroups"
	storage   = "storage"
	nfs       = "nfs"
	network   = "network"
	setting   = "runtime"
)

const (
	userNamespaces = "https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/"
	rootless       = "https://github.com/moby/buildkit/blob/master/docs/rootless.md"
	networkFigures = "https://github.com/rootless-containers/rootlesskit/blob/master/docs/network.md"
)

// Claims returns all claims, in the order of the guide.
func Claims() []Claim { return claims[:] }

var claims = [...]Claim{
	{"userns-per-pod", isolation, "do: one user namespace per pod, and a rootless engine in it", "eyas map CHAIN", "", []string{"userns-probe"}},
	{"seccomp-localhost", isolation, "do: a Localhost seccomp profile; RuntimeDefault refuses unshare(2), Unconfined allows all", "kubectl exec POD -- unshare -Ur true", "", []string{"seccomp"}},
	{"limits-both", isolation, "do: limits on the pod and on what is inside", "eyas oom CHAIN", "", []string{"cgroup-controllers", "cgroup-kubepods"}},
	{"privileged-userns", isolation, "don't: privileged with hostUsers: false, to have cgroups: what is inside lands beside the pod", "https://github.com/moby/moby/issues/45378", "", nil},
	{"no-new-privs", isolation, "don't: allowPrivilegeEscalation: false on a rootless engine: newuidmap gets nothing then", rootless, "", nil},

	{"kubelet-range", ids, "do: give kubelet a range of its own at the node's first boot: kubelet:805306368:268435456", "eyas doctor node", "", []string{"kubelet-range", "kubelet-range-terminal", "kubelet-range-capacity"}},
	{"kubelet-example", ids, "don't: the example kubelet:65536:…, which overlaps the first user of distributions", "grep 100000 /etc/subuid", "", []string{"kubelet-range-shared"}},
	{"ids-in-pod", ids, "do: ranges inside a pod within 0–65535, such as 1001:64535", "test/sandbox", "", nil},
	{"range-change", ids, "don't: change kubelet's range while pods run", "https://github.com/kubernetes/kubernetes/issues/132966", "", []string{"kubelet-records"}},
	{"id-at-time", ids, "do: ask whose a file's id was at a time", "eyas whois uid N --at TIME", "", nil},
	{"ids-of-images", ids, "don't: 100000:65536, as images bring along, in pods of 65536 ids", "https://github.com/containers/podman/issues/27411", "", nil},
	{"ids-above", ids, "don't: images whose files have ids above 65535: raise idsPerPod instead", "https://github.com/rootless-containers/rootlesskit/issues/304", "", nil},

	{"cgroup-own", cgroups, "do: give the sandbox its own cgroup: otherwise limits inside are ignored in silence", "eyas doctor CHAIN", "", []string{"cgroup-v2", "cgroup-controllers"}},
	{"cgroup-leaf", cgroups, "do: move its processes to a leaf first: writable alone is not enough", "https://github.com/containerd/containerd/issues/14040", "", nil},
	{"cgroup-bounds", cgroups, "do: bound the cgroups inside", "https://github.com/kubernetes/enhancements/issues/5474", "", nil},
	{"cgroup-driver", cgroups, "do: the systemd driver, as kubelet has it", "test/sandbox", "", nil},
	{"cgroup-nsdelegate", cgroups, "do: watch nsdelegate: one privileged container strips it from the node", "https://github.com/containerd/containerd/issues/12952", "", []string{"cgroup-nsdelegate"}},
	{"cgroup-list", cgroups, "don't: chown more than the kernel lists", "cat /sys/kernel/cgroup/delegate", "", []string{"cgroup-delegate"}},

	{"store-volume", storage, "do: the store on a volume on ext4, xfs or btrfs: overlay of the kernel", "eyas doctor CHAIN --try", "", []string{"fs-overlay", "overlay-probe"}},
	{"store-rootfs", storage, "don't: the store on the container's own root file system", "https://github.com/containers/buildah/issues/3666", "", nil},
	{"store-fuse", storage, "only if overlay cannot be mounted: fuse-overlayfs, which takes /dev/fuse and is slower", "eyas doctor node", "", []string{"fs-fuse"}},
	{"store-tmpfs", storage, "do: tmpfs for small stores: it counts against the memory limit, and takes Linux 6.3 with user namespaces", "test/sandbox", "", []string{"kernel-version"}},
	{"copy-up", storage, "do: look at what is copied up: a file that is changed is copied as a whole", "eyas du CHAIN --files 10", "", nil},

	{"nfs-idmap", nfs, "don't: NFS volumes in pods with hostUsers: false: it has no idmapped mounts", "eyas doctor node", "", []string{"idmap-mounts"}},
	{"nfs-squash", nfs, "don't: rely on root_squash: it squashes id 0, and a pod's root is not 0", "eyas map CHAIN", "", nil},
	{"nfs-store", nfs, "don't: a store on NFS: all rootless BuildKits are one owner there, and unpacking fails", "https://github.com/containers/podman/blob/main/troubleshooting.md", "", nil},
	{"nfs-instead", nfs, "do: block volumes for stores, a registry or an object store for results", "eyas du CHAIN", "", nil},

	{"net-pod", network, "do: the pod's own network for build steps: it costs nothing", networkFigures, Build, nil},
	{"net-user", network, "do: pasta or slirp4netns, with MTU 65520, where ports must be apart; they take /dev/net/tun", networkFigures, Dev, []string{"dev-tun"}},
	{"net-policy", network, "don't: expect a NetworkPolicy for a nested container: all leaves with the pod's address", "https://kubernetes.io/docs/concepts/services-networking/network-policies/", "", nil},

	{"annotation", setting, "do: the annotation eyas.dev/sandbox on the pod: it needs nothing on the nodes", "eyas leases", "", nil},
	{"not-writable", setting, "don't: cgroup_writable for a whole handler: eyas makes writable what it prepares", "test/sandbox", "", nil},
	{"nri-open", setting, "do: alert on eyas_unprepared_containers: NRI fails open", "eyas doctor node", "", []string{"nri-socket", "nri-config", "nri-connected", "nri-unprepared"}},
	{"profile-build", setting, "do: profile build: 128 cgroups inside", "cat /sys/fs/cgroup/cgroup.max.descendants", Build, nil},
	{"profile-dev", setting, "do: profile dev: 512 cgroups inside", "cat /sys/fs/cgroup/cgroup.max.descendants", Dev, nil},
}
