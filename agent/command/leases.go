package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/ledger"
	"github.com/eyas-agent/eyas/agent/prepare"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newLeases(env Env) *cobra.Command {
	k := &client{env: env}
	c := &cobra.Command{
		Use: "leases", Short: "Show who holds which range of ids", Args: args(cobra.NoArgs),
		Long: "Show what containers have been lent: ranges of ids and cgroups, with state, age and\n" +
			"proof. Released ones are shown with -o wide, and in JSON.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := k.check(); err != nil {
				return err
			}
			all, err := readLeases(c, k)
			if err != nil {
				return err
			}
			if k.output == "json" {
				if all.Leases == nil {
					all.Leases = []ledger.Lease{}
				}
				return writeJSON(env.Stdout, all.Leases)
			}
			showLeases(env.Stdout, all, k.output == "wide")
			return nil
		},
	}
	k.flags(c)
	return c
}

// readLeases asks the agent, or reads the files when none answers.
func readLeases(c *cobra.Command, k *client) (prepare.Leases, error) {
	remote, _, err := api.Dial(c.Context(), k.socket)
	if err == nil {
		remote.Close()
		return prepare.NewRemote(k.socket).Leases(c.Context())
	}
	if !errors.Is(err, api.ErrDown) {
		return prepare.Leases{}, err
	}
	dir := daemon.LeasesDir(k.state)
	leases, blocked, rerr := ledger.Read(dir)
	if rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		return prepare.Leases{}, fmt.Errorf("%w, and the leases could not be read instead: %w", err, rerr)
	}
	fmt.Fprintf(k.env.Stderr, "eyas: %s; these are the files in %s\n", Escape(err.Error()), dir)
	return prepare.Leases{Leases: leases, Blocked: blocked}, nil
}

func showLeases(w io.Writer, all prepare.Leases, wide bool) {
	header := []string{"LEASE", "STATE", "RANGE", "PROFILE", "CONTAINER", "AGE", "PROOF"}
	if wide {
		header = append(header, "CGROUP", "UID", "STEPS")
	}
	t := newTable(w, header...)
	for _, l := range all.Leases {
		if !l.Live() && !wide {
			continue
		}
		ids := l.Range.String()
		if l.Range.Empty() {
			ids = strings.Join(l.InPod, " ")
		}
		row := []any{l.ID, l.State, orDash(ids), orDash(l.Profile), orDash(ownerText(l.Owner)), age(l.Created), orDash(Escape(clip(l.Proof, 80)))}
		if wide {
			row = append(row, orDash(Escape(l.Cgroup)), l.UID, orDash(Escape(strings.Join(l.Steps, " "))))
		}
		t.AppendRow(row)
	}
	t.Render()
	for _, b := range all.Blocked {
		fmt.Fprintf(w, "damaged: %s\n", Escape(b.String()))
	}
}

func ownerText(o ledger.Owner) string {
	name := o.Container
	if name == "" {
		name = clip(o.ContainerID, 12)
	}
	if o.Pod != "" {
		name = o.Namespace + "/" + o.Pod + "/" + name
	}
	if o.Runtime != "" && name != "" {
		name = o.Runtime + ":" + name
	}
	return Escape(name)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newPrepare(env Env) *cobra.Command {
	k := &client{env: env}
	var q prepare.PIDRequest
	var pid, uid, gid uint32
	c := &cobra.Command{
		Use: "prepare --pid N [--profile P]", Short: "Prepare the container of a process to run containers inside", Args: args(cobra.NoArgs),
		Long: "Hand the cgroup of the container that process N is in over to its user, and give it\n" +
			"ids for nested containers: ranges of its own map, or a leased range of host ids.\n" +
			"For machines without a runtime that tells of new containers. Run it before the\n" +
			"container starts (runc create), or before it makes cgroups of its own.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := k.check(); err != nil {
				return err
			}
			if pid == 0 {
				return usageError{errors.New("--pid: want the host pid of a process of the container")}
			}
			q.PID = identity.HostPID(pid)
			if c.Flags().Changed("uid") {
				q.UID = (*identity.UID)(&uid)
			}
			if c.Flags().Changed("gid") {
				q.GID = (*identity.GID)(&gid)
			}
			return k.change(c, func(s prepare.Service) error {
				r, err := s.PreparePID(c.Context(), q)
				if err != nil {
					return err
				}
				return k.showResult(r, q.DryRun)
			})
		},
	}
	k.flags(c)
	c.Flags().Uint32Var(&pid, "pid", 0, "host pid of a process of the container")
	k.configFlag(c)
	c.Flags().StringVar(&q.Profile, "profile", "", "what the container gets: dev, build, or a profile of the agent's configuration (default: its sandbox-default-profile)")
	c.Flags().BoolVar(&q.DryRun, "dry-run", false, "say what would be done, and do nothing")
	c.Flags().Uint32Var(&uid, "uid", 0, "uid of the container's user, as the container has it (default: the process's)")
	c.Flags().Uint32Var(&gid, "gid", 0, "gid of the container's user, likewise")
	return c
}

func newRelease(env Env) *cobra.Command {
	k := &client{env: env}
	var o prepare.ReleaseOptions
	c := &cobra.Command{
		Use: "release LEASE", Short: "Take back what a container was lent", Args: args(cobra.ExactArgs(1)),
		Long: "Take back what a container was lent. The agent does this by itself when a container\n" +
			"has ended. A range of ids is freed only on proof that nobody uses it, also with\n" +
			"--force, which takes back the cgroup of a container that still runs.",
		RunE: func(c *cobra.Command, a []string) error {
			if err := k.check(); err != nil {
				return err
			}
			return k.change(c, func(s prepare.Service) error {
				r, err := s.Release(c.Context(), a[0], o)
				if err != nil {
					return err
				}
				return k.showResult(r, o.DryRun)
			})
		},
	}
	k.flags(c)
	k.configFlag(c)
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and do nothing")
	c.Flags().BoolVar(&o.Force, "force", false, "also when its container still runs")
	return c
}

func (k *client) configFlag(c *cobra.Command) {
	c.Flags().StringVar(&k.config, "config", "", "the agent's YAML file, for when none answers: an agent goes by its own")
}

// change calls f with the agent, or with this process in its place.
func (k *client) change(c *cobra.Command, f func(prepare.Service) error) error {
	config := daemon.DefaultConfig()
	if k.config != "" {
		if err := config.LoadFile(k.config); err != nil {
			return err
		}
	}
	if k.config == "" || c.Flags().Changed("socket") {
		config.Socket = k.socket
	}
	if k.config == "" || c.Flags().Changed("state-dir") {
		config.StateDir = k.state
	}
	log := zerolog.New(k.env.Stderr).Level(zerolog.WarnLevel)
	s, done, err := daemon.Preparer(c.Context(), config, log)
	if err != nil {
		return err
	}
	return errors.Join(f(s), done())
}

func (k *client) showResult(r prepare.Result, dry bool) error {
	if k.output == "json" {
		return writeJSON(k.env.Stdout, r)
	}
	w := k.env.Stdout
	if dry {
		fmt.Fprintf(w, "lease %s (nothing was done)\n", r.Lease.ID)
	} else {
		fmt.Fprintf(w, "lease %s is %s\n", r.Lease.ID, r.Lease.State)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", Escape(n))
	}
	for _, a := range r.Actions {
		fmt.Fprintf(w, "  %s\n", Escape(a))
	}
	for _, f := range []struct{ name, text string }{{"/etc/subuid", r.Subuid}, {"/etc/subgid", r.Subgid}} {
		for _, line := range strings.Split(strings.TrimSpace(f.text), "\n") {
			if line != "" {
				fmt.Fprintf(w, "  %s: %s\n", f.name, Escape(line))
			}
		}
	}
	return nil
}
