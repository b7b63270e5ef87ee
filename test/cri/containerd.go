package cri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"text/template"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ContainerdOptions are what the tests change in a containerd.
type ContainerdOptions struct {
	Binary   string   // "": containerd of PATH
	Under    []string // command that starts it, such as nsenter; nil: none
	Path     string   // PATH of it, for shims and runtimes; "": as it is here
	Dir      string   // absolute: all that it keeps, its sockets and its log
	Root     string   // its content and snapshots; "": below Dir
	Pause    string   // image of the sandbox container
	Handlers []Handler
	Systemd  bool   // the systemd cgroup driver
	CNIBin   string // "": pods have the host's network only
	CNIConf  string
	NoNRI    bool
	NRITime  time.Duration // in which a plugin must answer; 0: containerd's default, 2 s
	Nested   bool          // in a container itself: OOM scores cannot be lowered
}

// Handler is a runtime handler; the first one is the default.
type Handler struct {
	Name     string
	Binary   string // "": runc
	Writable bool   // cgroup_writable
}

// Containerd is one that runs.
type Containerd struct {
	Socket string // CRI
	NRI    string // where plugins connect
	o      ContainerdOptions
	cmd    *exec.Cmd
	ended  chan error
}

var containerdConfig = template.Must(template.New("").Parse(`version = 3
root = '{{.Root}}'
state = '{{.Dir}}/state'
[grpc]
address = '{{.Dir}}/containerd.sock'
[ttrpc]
address = '{{.Dir}}/containerd.ttrpc'
[plugins.'io.containerd.nri.v1.nri']
disable = {{.NoNRI}}
socket_path = '{{.Dir}}/nri.sock'
plugin_path = '{{.Dir}}/nri-plugins'
plugin_config_path = '{{.Dir}}/nri-config'
{{with .NRITime}}plugin_request_timeout = '{{.}}'{{end}}
[plugins.'io.containerd.internal.v1.opt']
path = '{{.Dir}}/opt'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{{.Pause}}'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = {{.Nested}}
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{{.CNIBin}}']
conf_dir = '{{.CNIConf}}'
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = '{{(index .Handlers 0).Name}}'
{{range .Handlers}}
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.{{.Name}}]
runtime_type = 'io.containerd.runc.v2'
cgroup_writable = {{.Writable}}
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.{{.Name}}.options]
SystemdCgroup = {{$.Systemd}}
{{with .Binary}}BinaryName = '{{.}}'{{end}}
{{end}}`))

// StartContainerd starts a containerd and returns when it answers.
func StartContainerd(ctx context.Context, o ContainerdOptions) (*Containerd, error) {
	if o.Binary == "" {
		o.Binary = "containerd"
	}
	if o.Root == "" {
		o.Root = filepath.Join(o.Dir, "root")
	}
	if len(o.Handlers) == 0 {
		o.Handlers = []Handler{{Name: "runc"}}
	}
	if o.CNIBin == "" { // it must name some folders
		o.CNIBin, o.CNIConf = filepath.Join(o.Dir, "cni"), filepath.Join(o.Dir, "cni")
	}
	var config bytes.Buffer
	if err := containerdConfig.Execute(&config, o); err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(o.Dir, 0o711), os.WriteFile(filepath.Join(o.Dir, "config.toml"), config.Bytes(), 0o600)); err != nil {
		return nil, err
	}
	c := &Containerd{Socket: filepath.Join(o.Dir, "containerd.sock"), NRI: filepath.Join(o.Dir, "nri.sock"), o: o}
	return c, c.Start(ctx)
}

// Start starts it again after Stop. Pods have gone on meanwhile.
func (c *Containerd) Start(ctx context.Context) error {
	log, err := os.OpenFile(c.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append(slices.Clone(c.o.Under), c.o.Binary, "--config", filepath.Join(c.o.Dir, "config.toml"))
	c.cmd = exec.Command(args[0], args[1:]...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if c.o.Path != "" {
		c.cmd.Env = append(os.Environ(), "PATH="+c.o.Path)
	}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	c.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(c.cmd, c.ended)
	client, err := Dial(c.Socket)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	answered := make(chan error, 1)
	go func() { // waits for the socket: see WaitForReady
		_, err := client.Runtime.Version(ctx, &runtime.VersionRequest{})
		answered <- err
	}()
	select {
	case err := <-c.ended:
		c.ended <- err
		return fmt.Errorf("containerd ended: %w: %s", err, c.tail())
	case err := <-answered:
		if err != nil {
			return fmt.Errorf("containerd does not answer: %w: %s", err, c.tail())
		}
	}
	return nil
}

// LogFile is where it logs.
func (c *Containerd) LogFile() string { return filepath.Join(c.o.Dir, "containerd.log") }

func (c *Containerd) tail() string {
	b, err := os.ReadFile(c.LogFile())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// Stop ends it as a restart of its service does: pods go on.
func (c *Containerd) Stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err := <-c.ended
	c.ended <- err
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}
