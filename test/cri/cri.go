// Package cri is what the tests need of a Container Runtime Interface client: it
// does what kubelet does for one pod with containers in it.
//
// What enters: the socket of a container runtime (containerd, CRI-O). What leaves: running
// pods, until Remove. It keeps no state but the connection.
package cri

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Client talks to one runtime. It may be used concurrently.
type Client struct {
	conn    *grpc.ClientConn
	Runtime runtime.RuntimeServiceClient
	Images  runtime.ImageServiceClient
}

// Dial connects to a runtime's unix socket when the first call is made.
func Dial(socket string) (*Client, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20), grpc.WaitForReady(true)))
	if err != nil {
		return nil, fmt.Errorf("dial runtime %s: %w", socket, err)
	}
	return &Client{conn, runtime.NewRuntimeServiceClient(conn), runtime.NewImageServiceClient(conn)}, nil
}

// Close ends the connection; pods go on.
func (c *Client) Close() error { return c.conn.Close() }

// UserNamespace is what kubelet gives a pod with hostUsers: false.
type UserNamespace struct{ HostID, Length uint32 }

func (u *UserNamespace) mappings() []*runtime.IDMapping {
	return []*runtime.IDMapping{{HostId: u.HostID, Length: u.Length}}
}

// PodOptions describe a pod.
type PodOptions struct {
	Name, Namespace string // Namespace "": default
	Handler         string // runtime handler; "": the runtime's default
	CgroupParent    string // /kubepods/x, or kubepods-x.slice for the systemd driver
	LogDir          string
	Annotations     map[string]string
	UserNS          *UserNamespace // nil: the host's
	HostNetwork     bool
	HostPID         bool
}

// Pod is a pod that runs.
type Pod struct {
	ID      string
	c       *Client
	config  *runtime.PodSandboxConfig
	options *runtime.NamespaceOption
}

// RunPod starts a pod's sandbox.
func (c *Client) RunPod(ctx context.Context, o PodOptions) (*Pod, error) {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	ns := &runtime.NamespaceOption{Pid: runtime.NamespaceMode_CONTAINER}
	if o.UserNS != nil {
		m := o.UserNS.mappings()
		ns.UsernsOptions = &runtime.UserNamespace{Mode: runtime.NamespaceMode_POD, Uids: m, Gids: m}
	}
	if o.HostNetwork {
		ns.Network = runtime.NamespaceMode_NODE
	}
	if o.HostPID {
		ns.Pid = runtime.NamespaceMode_NODE
	}
	p := &Pod{c: c, options: ns, config: &runtime.PodSandboxConfig{
		Metadata:     &runtime.PodSandboxMetadata{Name: o.Name, Uid: "uid-" + o.Name, Namespace: o.Namespace},
		Hostname:     o.Name,
		LogDirectory: o.LogDir,
		Annotations:  o.Annotations,
		Linux: &runtime.LinuxPodSandboxConfig{
			CgroupParent:    o.CgroupParent,
			SecurityContext: &runtime.LinuxSandboxSecurityContext{NamespaceOptions: ns, Seccomp: Seccomp("")},
		},
	}}
	if o.HostNetwork {
		p.config.Hostname = ""
	}
	for {
		r, err := c.Runtime.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: p.config, RuntimeHandler: o.Handler})
		switch {
		case err == nil:
			p.ID = r.PodSandboxId
			return p, nil
		case !strings.Contains(err.Error(), "failed to create network namespace") || p.config.Metadata.Attempt == 3:
			return nil, fmt.Errorf("run pod %s: %w", o.Name, err)
		}
		// On a loaded machine containerd 2.1 loses the process whose namespace
		// it is about to take. Kubelet tries again, too.
		p.config.Metadata.Attempt++
	}
}

// IP is the pod's address, as its node reaches it.
func (p *Pod) IP(ctx context.Context) (string, error) {
	r, err := p.c.Runtime.PodSandboxStatus(ctx, &runtime.PodSandboxStatusRequest{PodSandboxId: p.ID})
	if err != nil {
		return "", fmt.Errorf("status of pod %s: %w", p.config.Metadata.Name, err)
	}
	return r.GetStatus().GetNetwork().GetIp(), nil
}

// Remove stops and removes the pod and all its containers.
func (p *Pod) Remove(ctx context.Context) error {
	_, err := p.c.Runtime.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: p.ID})
	if err == nil {
		_, err = p.c.Runtime.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: p.ID})
	}
	if err != nil {
		return fmt.Errorf("remove pod %s: %w", p.config.Metadata.Name, err)
	}
	return nil
}

// Seccomp is a profile: "" is the runtime's default, "unconfined" none, anything
// else the absolute path of a file on the node.
func Seccomp(profile string) *runtime.SecurityProfile {
	switch profile {
	case "":
		return &runtime.SecurityProfile{ProfileType: runtime.SecurityProfile_RuntimeDefault}
	case "unconfined":
		return &runtime.SecurityProfile{ProfileType: runtime.SecurityProfile_Unconfined}
	}
	return &runtime.SecurityProfile{ProfileType: runtime.SecurityProfile_Localhost, LocalhostRef: profile}
}

// The paths under /proc and /sys that kubelet asks to hide unless procMount is
// Unmasked (k8s.io/kubernetes/pkg/securitycontext).
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// ContainerOptions describe a container of a pod.
type ContainerOptions struct {
	Name, Image string // the image must be there already
	Command     []string
	Args        []string
	UID, GID    int64
	Env         map[string]string
	Mounts      []Mount
	Seccomp     string // see Seccomp
	Unmasked    bool   // procMount: Unmasked
	Privileged  bool
	NoNewPrivs  bool     // allowPrivilegeEscalation: false
	ReadOnly    bool     // readOnlyRootFilesystem
	Add, Drop   []string // capabilities
	Memory      int64    // bytes; 0: no limit
	Unified     map[string]string
}

// Mount is a volume. In a pod with a user namespace it is idmapped, as kubelet
// has it, unless Shared.
type Mount struct {
	Host, Container  string
	ReadOnly, Shared bool
}

// Container is a container of a pod.
type Container struct {
	ID string
	c  *Client
}

// Create creates a container. It does not run before Start.
func (p *Pod) Create(ctx context.Context, o ContainerOptions) (*Container, error) {
	sec := &runtime.LinuxContainerSecurityContext{
		NamespaceOptions: p.options, Seccomp: Seccomp(o.Seccomp), NoNewPrivs: o.NoNewPrivs, Privileged: o.Privileged,
		RunAsUser: &runtime.Int64Value{Value: o.UID}, RunAsGroup: &runtime.Int64Value{Value: o.GID},
		MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths, ReadonlyRootfs: o.ReadOnly,
		Capabilities: &runtime.Capability{AddCapabilities: o.Add, DropCapabilities: o.Drop},
	}
	if o.Unmasked || o.Privileged {
		sec.MaskedPaths, sec.ReadonlyPaths = []string{}, []string{}
	}
	cc := &runtime.ContainerConfig{
		Metadata: &runtime.ContainerMetadata{Name: o.Name}, Image: &runtime.ImageSpec{Image: o.Image}, Command: o.Command, Args: o.Args, LogPath: o.Name + ".log",
		Linux: &runtime.LinuxContainerConfig{SecurityContext: sec, Resources: &runtime.LinuxContainerResources{MemoryLimitInBytes: o.Memory, Unified: o.Unified}},
	}
	for k, v := range o.Env {
		cc.Envs = append(cc.Envs, &runtime.KeyValue{Key: k, Value: []byte(v)})
	}
	for _, m := range o.Mounts {
		mount := &runtime.Mount{HostPath: m.Host, ContainerPath: m.Container, Readonly: m.ReadOnly}
		if u := p.options.UsernsOptions; u != nil && !m.Shared {
			mount.UidMappings, mount.GidMappings = u.Uids, u.Gids
		}
		cc.Mounts = append(cc.Mounts, mount)
	}
	r, err := p.c.Runtime.CreateContainer(ctx, &runtime.CreateContainerRequest{PodSandboxId: p.ID, Config: cc, SandboxConfig: p.config})
	if err != nil {
		return nil, fmt.Errorf("create container %s: %w", o.Name, err)
	}
	return &Container{r.ContainerId, p.c}, nil
}

// Start starts it.
func (k *Container) Start(ctx context.Context) error {
	_, err := k.c.Runtime.StartContainer(ctx, &runtime.StartContainerRequest{ContainerId: k.ID})
	if err != nil {
		return fmt.Errorf("start container %.12s: %w", k.ID, err)
	}
	return nil
}

// Run creates a container and starts it.
func (p *Pod) Run(ctx context.Context, o ContainerOptions) (*Container, error) {
	k, err := p.Create(ctx, o)
	if err != nil {
		return nil, err
	}
	return k, k.Start(ctx)
}

// Stop kills it after grace, and Remove forgets it.
func (k *Container) Stop(ctx context.Context, grace time.Duration) error {
	_, err := k.c.Runtime.StopContainer(ctx, &runtime.StopContainerRequest{ContainerId: k.ID, Timeout: int64(grace.Seconds())})
	return err
}

// Remove removes a stopped container.
func (k *Container) Remove(ctx context.Context) error {
	_, err := k.c.Runtime.RemoveContainer(ctx, &runtime.RemoveContainerRequest{ContainerId: k.ID})
	return err
}

// Update changes its limits, as a resize of the pod in place does.
func (k *Container) Update(ctx context.Context, r *runtime.LinuxContainerResources) error {
	_, err := k.c.Runtime.UpdateContainerResources(ctx, &runtime.UpdateContainerResourcesRequest{ContainerId: k.ID, Linux: r})
	if err != nil {
		return fmt.Errorf("update container %.12s: %w", k.ID, err)
	}
	return nil
}

// ExitError tells of a command that did not end with 0.
type ExitError struct {
	Command []string
	Code    int32
	Output  string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%.200q: exit status %d: %s", strings.Join(e.Command, " "), e.Code, strings.TrimSpace(e.Output))
}

// Exec runs a command in it and returns what it wrote, standard error last. An
// exec probe of kubelet is the same call.
func (k *Container) Exec(ctx context.Context, timeout time.Duration, command ...string) (string, error) {
	r, err := k.c.Runtime.ExecSync(ctx, &runtime.ExecSyncRequest{ContainerId: k.ID, Cmd: command, Timeout: int64(timeout.Seconds())})
	if err != nil {
		return "", fmt.Errorf("exec in container %.12s: %w", k.ID, err)
	}
	out := string(r.Stdout) + string(r.Stderr)
	if r.ExitCode != 0 {
		return out, &ExitError{command, r.ExitCode, out}
	}
	return out, nil
}

// Status is the runtime's view of it: info has, of containerd, its OCI spec and pid.
func (k *Container) Status(ctx context.Context) (*runtime.ContainerStatus, map[string]string, error) {
	r, err := k.c.Runtime.ContainerStatus(ctx, &runtime.ContainerStatusRequest{ContainerId: k.ID, Verbose: true})
	if err != nil {
		return nil, nil, fmt.Errorf("status of container %.12s: %w", k.ID, err)
	}
	if r.Status == nil {
		return nil, nil, errors.New("status without a status")
	}
	return r.Status, r.Info, nil
}
