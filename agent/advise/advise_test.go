package advise

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/agent/doctor"
)

// node is one on which everything works, with changes: state by check.
func node(changes map[string]doctor.State) (all []doctor.Result) {
	for _, id := range []string{
		"kernel-version", "cgroup-v2", "cgroup-nsdelegate", "cgroup-controllers", "cgroup-kubepods", "cgroup-delegate", "userns-max", "namespaces-max",
		"userns-probe", "overlay-probe", "idmap-mounts", "seccomp", "subuid", "subgid", "kubelet-range", "containerd-version", "runc-version",
	} {
		if _, changed := changes[id]; !changed {
			all = append(all, doctor.Result{ID: id, State: doctor.OK, Found: "fine"})
		}
	}
	for _, id := range []string{"userns-clone", "userns-apparmor", "selinux", "crio-version", "crun-version"} {
		if _, changed := changes[id]; !changed {
			all = append(all, doctor.Result{ID: id, State: doctor.NotApplicable, Found: "not here"})
		}
	}
	for id, s := range changes {
		if s != "" {
			all = append(all, doctor.Result{ID: id, State: s, Found: "changed", Fix: "mend " + id})
		}
	}
	return all
}

func TestAdvise(t *testing.T) {
	type changes = map[string]doctor.State
	current := Cluster{Version: "v1.36.2"}
	for name, c := range map[string]struct {
		node    changes
		cluster Cluster
		w       Workload
		want    string   // recommended
		rootful Verdict  // of pod-root
		host    Verdict  // of rootless-host
		first   []string // to mend
		near    string   // if none is recommended
	}{
		"all is well":                     {nil, current, Build, "pod-rootless", Fit, Fit, nil, ""},
		"and for development":             {nil, current, Dev, "pod-rootless", Fit, Fit, nil, ""},
		"no cluster asked":                {nil, Cluster{}, Build, "pod-rootless", Unproven, Fit, nil, ""},
		"a cluster that does not answer":  {nil, Cluster{Err: errors.New("refused")}, Build, "pod-rootless", Unproven, Fit, nil, ""},
		"a cluster before 1.33":           {nil, Cluster{Version: "v1.32.9"}, Build, "rootless-host", Unfit, Recommended, nil, ""},
		"a cluster before 1.30":           {nil, Cluster{Version: "v1.29.0"}, Dev, "rootless-host", Unfit, Recommended, nil, ""},
		"a cluster of a cloud":            {nil, Cluster{Version: "v1.34.1-gke.100"}, Dev, "pod-rootless", Fit, Fit, nil, ""},
		"a cluster with a strange number": {nil, Cluster{Version: "one"}, Dev, "pod-rootless", Unproven, Fit, nil, ""},
		"Linux 6.1":                       {changes{"kernel-version": doctor.Warn}, current, Build, "rootless-host", Unfit, Recommended, nil, ""},
		"Linux 5.15":                      {changes{"kernel-version": doctor.Fail}, current, Build, "", Unfit, Unfit, nil, "pod-rootless"},
		"an old containerd":               {changes{"containerd-version": doctor.Fail}, current, Build, "rootless-host", Unfit, Recommended, nil, ""},
		"CRI-O instead":                   {changes{"containerd-version": doctor.NotApplicable, "crio-version": doctor.OK}, current, Build, "pod-rootless", Fit, Fit, nil, ""},
		"an old containerd beside CRI-O":  {changes{"containerd-version": doctor.Fail, "crio-version": doctor.OK}, current, Build, "pod-rootless", Fit, Fit, nil, ""},
		"no runtime":                      {changes{"containerd-version": doctor.NotApplicable, "runc-version": doctor.NotApplicable}, current, Build, "pod-rootless", Unproven, Fit, nil, ""},
		"an old runc":                     {changes{"runc-version": doctor.Warn}, current, Build, "rootless-host", Unfit, Recommended, nil, ""},
		"crun beside an old runc":         {changes{"runc-version": doctor.Warn, "crun-version": doctor.OK}, current, Build, "pod-rootless", Fit, Fit, nil, ""},
		"volumes on NFS":                  {changes{"idmap-mounts": doctor.Fail}, current, Build, "rootless-host", Unfit, Recommended, nil, ""},
		"Debian's switch, builds":         {changes{"userns-clone": doctor.Fail, "userns-probe": doctor.Fail}, current, Build, "", Fit, Unfit, nil, "pod-rootless"},
		"Debian's switch, development":    {changes{"userns-clone": doctor.Fail, "userns-probe": doctor.Fail}, current, Dev, "pod-root", Recommended, Unfit, nil, ""},
		"no user namespaces":              {changes{"userns-max": doctor.Fail}, current, Dev, "", Unfit, Unfit, nil, "pod-rootless"},
		"few user namespaces":             {changes{"userns-max": doctor.Warn}, current, Dev, "pod-rootless", Fit, Fit, nil, ""},
		"hybrid cgroups":                  {changes{"cgroup-v2": doctor.Fail}, current, Dev, "", Unfit, Unfit, nil, "pod-rootless"},
		"nsdelegate was stripped":         {changes{"cgroup-nsdelegate": doctor.Fail}, current, Dev, "pod-rootless", Fit, Fit, []string{"cgroup-nsdelegate"}, ""},
		"Ubuntu's AppArmor, no range":     {changes{"userns-apparmor": doctor.Warn, "kubelet-range": doctor.Warn}, current, Dev, "pod-rootless", Fit, Fit, []string{"userns-apparmor", "kubelet-range"}, ""},
		"not root":                        {changes{"userns-probe": doctor.Unknown}, current, Dev, "pod-rootless", Fit, Unproven, nil, ""},
		"not looked at":                   {changes{"idmap-mounts": ""}, current, Dev, "pod-rootless", Unproven, Fit, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := Advise(c.w, node(c.node), c.cluster)
			got, near := "", ""
			var first []string
			if r.Recommended != nil {
				got = r.Recommended.ID
				for _, x := range r.Recommended.First {
					first = append(first, x.Check)
				}
				if r.Modes[0].ID != got || r.Modes[0].Verdict != Recommended {
					t.Errorf("%s is not the first: %s", got, r.Modes[0].ID)
				}
			}
			if r.Nearest != nil {
				near = r.Nearest.ID
				if len(r.Nearest.Reasons) == 0 || r.Nearest.Reasons[0].Fix == "" {
					t.Errorf("what it lacks, and how to mend it: %+v", r.Nearest.Reasons)
				}
			}
			verdict := map[string]Verdict{}
			for _, m := range r.Modes {
				verdict[m.ID] = m.Verdict
			}
			if diff := cmp.Diff([]any{c.want, c.rootful, c.host, c.first, c.near}, []any{got, verdict["pod-root"], verdict["rootless-host"], first, near}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if len(r.Modes) != len(Modes()) || verdict["privileged"] != Never || verdict["vm"] != Special {
				t.Errorf("%+v", verdict)
			}
		})
	}
}

// A claim stands as the worst of its checks does; those of the other workload are
// left out.
func TestClaimsHere(t *testing.T) {
	r := Advise(Build, node(map[string]doctor.State{"kubelet-range": doctor.OK, "kubelet-range-terminal": doctor.Warn, "kubelet-range-capacity": doctor.NotApplicable}), Cluster{})
	at := func(id string) (ClaimHere, bool) {
		i := slices.IndexFunc(r.Claims, func(c ClaimHere) bool { return c.ID == id })
		if i < 0 {
			return ClaimHere{}, false
		}
		return r.Claims[i], true
	}
	c, _ := at("kubelet-range")
	if c.State != doctor.Warn || len(c.Reasons) != 3 || c.Reasons[0].Check != "kubelet-range-terminal" {
		t.Errorf("%+v", c)
	}
	if c, ok := at("ids-above"); !ok || c.State != "" {
		t.Errorf("what nothing checks: %+v", c)
	}
	if _, ok := at("profile-dev"); ok {
		t.Error("a claim of dev is among those of build")
	}
	if _, ok := at("profile-build"); !ok {
		t.Error("a claim of build is not")
	}
}

// What a cluster has for hostile tenants is named.
func TestHandlers(t *testing.T) {
	r := Advise(Build, nil, Cluster{Version: "v1.36.0", Handlers: map[string]string{"strong": "kata-qemu", "b": "runsc", "a": "gvisor-x", "own": "runc"}})
	got := map[string][]string{}
	for _, m := range r.Modes {
		for _, x := range m.Reasons {
			if x.Check == "runtimeclass" {
				got[m.ID] = append(got[m.ID], x.Found)
			}
		}
	}
	want := map[string][]string{"vm": {"strong, handler kata-qemu"}, "gvisor": {"a, handler gvisor-x", "b, handler runsc"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
