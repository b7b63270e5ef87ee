package nri

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/nri/pkg/api"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/agent/prepare"
)

const cgroupMount = "/sys/fs/cgroup"

// adjust is what a container gets before it exists. What it has already, by its
// pod or its image, stays; notes say what was left out.
func (p *Plugin) adjust(c *api.Container, pr Profile, r prepare.Result, dir string) (*api.ContainerAdjustment, []string) {
	a := &api.ContainerAdjustment{}
	var notes []string
	if pr.Files {
		for _, name := range []string{"subuid", "subgid"} {
			dst := "/etc/" + name
			switch {
			case r.Subuid == "": // the profile gives no ids
			case mounted(c, dst) != nil:
				notes = append(notes, "the pod mounts "+dst+" itself")
			default:
				a.AddMount(&api.Mount{
					Destination: dst, Type: "bind", Source: filepath.Join(dir, name),
					Options: []string{"bind", "ro", "nosuid", "nodev", "noexec", "rprivate"},
				})
			}
		}
	}
	for _, path := range pr.Devices {
		if slices.ContainsFunc(c.GetLinux().GetDevices(), func(d *api.LinuxDevice) bool { return d.GetPath() == path }) {
			continue
		}
		d, err := p.device(path)
		if err != nil {
			notes = append(notes, err.Error())
			continue
		}
		a.AddDevice(d)
	}
	if pr.Bounds && p.o.Unified && pr.MaxDescendants > 0 && pr.MaxDepth > 0 {
		a.AddLinuxUnified("cgroup.max.descendants", strconv.FormatUint(uint64(pr.MaxDescendants), 10))
		a.AddLinuxUnified("cgroup.max.depth", strconv.FormatUint(uint64(pr.MaxDepth), 10))
	}
	if pr.CgroupRW && p.o.Unified {
		if m := mounted(c, cgroupMount); m != nil && m.GetType() == "cgroup" && slices.Contains(m.GetOptions(), "ro") {
			if hasNamespace(c, "cgroup") {
				a.RemoveMount(cgroupMount)
				a.AddMount(writable(m))
			} else {
				notes = append(notes, "the container has no cgroup namespace: "+cgroupMount+" stays read-only")
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(pr.Env)) {
		if !slices.ContainsFunc(c.GetEnv(), func(e string) bool { return strings.HasPrefix(e, k+"=") }) {
			a.AddEnv(k, pr.Env[k])
		}
	}
	return a, notes
}

func mounted(c *api.Container, dst string) *api.Mount {
	for _, m := range c.GetMounts() {
		if filepath.Clean(m.GetDestination()) == dst {
			return m
		}
	}
	return nil
}

func writable(m *api.Mount) *api.Mount {
	w := &api.Mount{Destination: cgroupMount, Type: m.GetType(), Source: m.GetSource()}
	for _, o := range m.GetOptions() {
		if o != "ro" {
			w.Options = append(w.Options, o)
		}
	}
	w.Options = append(w.Options, "rw")
	return w
}

func hasNamespace(c *api.Container, kind string) bool {
	return slices.ContainsFunc(c.GetLinux().GetNamespaces(), func(n *api.LinuxNamespace) bool { return n.GetType() == kind })
}

// device describes a device of the host so that every user of the container may
// use it. In a user namespace the runtime binds the host's node instead of making
// one, and the host's mode counts.
func (p *Plugin) device(path string) (*api.LinuxDevice, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(p.o.Root, path), &st); err != nil {
		return nil, fmt.Errorf("the host has no %s (%w): load its module", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return nil, fmt.Errorf("%s of the host is no character device", path)
	}
	return &api.LinuxDevice{
		Path: path, Type: "c", Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		FileMode: api.FileMode(os.FileMode(0o666)),
	}, nil
}
