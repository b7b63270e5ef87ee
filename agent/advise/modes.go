package advise

// Workload is what the containers inside are for.
type Workload string

// Build are image builds; Dev are environments in which people start what they like.
const (
	Build Workload = "build"
	Dev   Workload = "dev"
)

// Mode is a way to run containers in containers.
type Mode struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Escape string `json:"escape"` // what somebody is who escapes
	Inside string `json:"inside"` // what runs inside
	Use    string `json:"use"`
	Source string `json:"source"`

	needs   []need
	mend    []string // checks whose trouble is to be mended first, or known
	changes []string // to the manifest, which is that of pod-rootless
	apart   Verdict  // Never and Special are not recommended, whatever the node is
	handler []string // runtimes that a RuntimeClass of it names
}

// need is what a mode does not work without: one of some checks.
type need struct {
	any  []string
	warn bool // a warning is enough
	moot bool // so is that a check does not apply
}

// Of all modes.
var nested = []need{
	{any: []string{"cgroup-v2"}, warn: true},
	{any: []string{"userns-max"}, warn: true},
	{any: []string{"namespaces-max"}, warn: true},
	{any: []string{"seccomp"}, warn: true},
}

// Of engines that make user namespaces without privileges.
var unprivileged = []need{
	{any: []string{"userns-clone"}, moot: true},
	{any: []string{"userns-probe"}},
}

// Of pods with hostUsers: false.
var podUsers = []need{
	{any: []string{"kernel-version"}}, // its warning is that it is too old for that
	{any: []string{"containerd-version", "crio-version"}},
	{any: []string{"runc-version", "crun-version"}},
	{any: []string{"idmap-mounts"}, warn: true},
	{any: []string{clusterCheck}},
}

// clusterCheck is the one that doctor, who looks at the node alone, has not.
const clusterCheck = "cluster-version"

var always = []string{
	"cgroup-nsdelegate", "cgroup-controllers", "cgroup-kubepods", "userns-apparmor", "selinux", "overlay-probe", "fs-overlay",
	"nri-socket", "nri-config", "keys", "inotify", "pids", "dev-fuse", "dev-tun",
}

var kubelets = []string{"kubelet-range", "kubelet-range-shared", "kubelet-range-terminal", "kubelet-range-capacity", "kubelet-records"}

// modes are those of the guide, in its order.
var modes = [...]Mode{
	{
		ID: "privileged", Name: "privileged: true, docker in docker", Escape: "root on the node", Inside: "everything", Use: "nothing that tenants touch",
		Source: "eyas tree", apart: Never,
	},
	{
		ID: "rootless-host", Name: "rootless engine, host's user namespace", Escape: "an unprivileged user of the node",
		Inside: "builds; images within the range that is leased", Use: "clusters without hostUsers: false", Source: "test/sandbox",
		needs: concat([]need{{any: []string{"kernel-version"}, warn: true}}, nested, unprivileged), mend: concat(always, []string{"subuid", "subgid", "kubelet-range-shared"}),
		changes: []string{"leave out hostUsers: false", "leave out procMount: Unmasked, which baseline refuses then, or allow it by the namespace's label", "let eyas lease host ids, as it does by itself for such pods (ids: auto)"},
	},
	{
		ID: "pod-root", Name: "hostUsers: false, engine as the pod's root", Escape: "nobody on the node",
		Inside: "nearly everything, with capabilities added", Use: "development with an engine that wants root", Source: userNamespaces,
		needs: concat(nested, podUsers), mend: concat(always, kubelets),
		changes: []string{"runAsUser: 0, in place of 1000", "capabilities: {add: [SYS_ADMIN, NET_ADMIN]}, which baseline refuses: allow it by the namespace's label"},
	},
	{
		ID: "pod-rootless", Name: "hostUsers: false, rootless engine", Escape: "nobody on the node, and no root in the pod",
		Inside: "images whose ids are below 64535", Use: "the default, for builds and development", Source: "test/sandbox",
		needs: concat(nested, unprivileged, podUsers), mend: concat(always, kubelets),
	},
	{
		ID: "gvisor", Name: "gVisor", Escape: "a user-space kernel's bug away from the node", Inside: "what its kernel has", Use: "code that nobody trusts",
		Source: "https://gvisor.dev/docs/", apart: Special, handler: []string{"runsc", "gvisor"},
	},
	{
		ID: "vm", Name: "a virtual machine (Kata)", Escape: "inside the guest", Inside: "everything",
		Use:    "tenants that are hostile, where nested virtualisation or bare metal is at hand",
		Source: "https://katacontainers.io/docs/", apart: Special, handler: []string{"kata"},
	},
}

// Modes returns all modes, in the order of the guide.
func Modes() []Mode { return modes[:] }

// ranks are the modes to recommend, the best first.
var ranks = map[Workload][]string{
	Build: {"pod-rootless", "rootless-host"},
	Dev:   {"pod-rootless", "pod-root", "rootless-host"},
}

func concat[T any](parts ...[]T) (all []T) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
