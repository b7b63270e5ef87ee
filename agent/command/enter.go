package command

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/enter"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newEnter(env Env) *cobra.Command {
	e := &enterer{client: client{env: env}}
	c := &cobra.Command{
		Use:   "enter CHAIN [-- COMMAND...]",
		Short: "Print, or run, what starts a shell in a container, as its root and in its cgroup",
		Long: "Print the script for sh that starts COMMAND (default: sh) in a container: in all\n" +
			"namespaces of its first process, or the oldest that lives, as root of its user\n" +
			"namespace, and in its cgroup, so that what you start counts against its limits and\n" +
			"not the node's. With --run it is run. Both need root and nsenter of util-linux.\n\n" +
			"The script fails if the process has ended meanwhile, also if its pid is another's by\n" +
			"then. What it starts has the container's files and ids, but neither its seccomp\n" +
			"filters nor its LSM profile, as root all capabilities of its user namespace, and an\n" +
			"environment of its own. Without user namespace that is the node's root.\n\n" +
			"Exit status: with --run that of COMMAND; else 0, 2 for a wrong call, 3 if there is\n" +
			"no such container or it has ended, 1 for all else.",
		Example: "  eyas enter web/db\n  eyas enter web/db --run\n  eyas enter web --run --user 1000 -- ls -l /data\n  eyas enter web --run --no-cgroup    # the container is at its limit",
		Args: func(c *cobra.Command, a []string) error {
			n := c.ArgsLenAtDash()
			if n < 0 {
				n = len(a)
			}
			if n != 1 {
				return usageError{errors.New("enter: want one CHAIN, and what is to be run after --: see eyas enter --help")}
			}
			return nil
		},
		ValidArgsFunction: func(c *cobra.Command, a []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(a) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return e.complete(c, a, word)
		},
		RunE: func(c *cobra.Command, a []string) error {
			if err := e.check(); err != nil {
				return err
			}
			if e.run && e.output == "json" {
				return usageError{errors.New("--run and -o json exclude each other: JSON is of what would be run")}
			}
			user, err := parseUser(e.user)
			if err != nil {
				return err
			}
			return e.enter(c.Context(), a[0], enter.Options{
				Proc: filepath.Join("/", env.Root, "proc"), User: user, NoCgroup: e.noCgroup, Command: a[1:],
			})
		},
	}
	e.flags(c)
	c.Flags().BoolVar(&e.run, "run", false, "run it, in place of eyas")
	c.Flags().StringVarP(&e.user, "user", "u", "", "UID[:GID] to be, as the container has it (default: its root)")
	c.Flags().BoolVar(&e.noCgroup, "no-cgroup", false, "stay in the cgroup that you are in: for a container at a limit of memory or tasks, or a frozen one")
	_ = c.RegisterFlagCompletionFunc("user", cobra.NoFileCompletions)
	return c
}

// enterer is one call of enter.
type enterer struct {
	client
	run      bool
	user     string
	noCgroup bool
}

// entry is the answer in JSON.
type entry struct {
	Container string          `json:"container"`
	Chain     []identity.Link `json:"chain"`
	enter.Plan
	Script string `json:"script"`
}

func parseUser(s string) (*enter.User, error) {
	if s == "" {
		return nil, nil
	}
	left, right, both := strings.Cut(s, ":")
	uid, err1 := strconv.ParseUint(left, 10, 32)
	gid, err2 := uint64(0), error(nil)
	if both {
		gid, err2 = strconv.ParseUint(right, 10, 32)
	}
	if err1 != nil || err2 != nil || uid == uint64(identity.NoID) || gid == uint64(identity.NoID) {
		return nil, usageError{fmt.Errorf("--user: want UID or UID:GID in numbers, as the container has them, got %q", clip(s, 64))}
	}
	u := &enter.User{UID: identity.UID(uid)}
	if both {
		g := identity.GID(gid)
		u.GID = &g
	}
	return u, nil
}

func (e *enterer) enter(ctx context.Context, chain string, o enter.Options) error {
	var answer entry
	var target *enter.Target
	err := e.ask(ctx, func(ctx context.Context, q api.Querier) error {
		found, pid, err := findContainer(ctx, q, chain)
		if err != nil {
			return ended(ctx, q, chain, err)
		}
		o.PID = pid
		if target, err = enter.Open(o); err != nil {
			return notFound(fmt.Errorf("enter container %s: %w", found.ID, err))
		}
		// Only now, with the process pinned: is it the one meant?
		id, err := confirm(ctx, q, found, pid)
		if err == nil {
			err = target.Alive()
		}
		if err != nil {
			return errors.Join(notFound(err), target.Close())
		}
		answer = entry{Container: found.ID, Chain: id.Chain, Plan: target.Plan, Script: target.Plan.Script()}
		return nil
	})
	if err != nil {
		return err
	}
	defer target.Close()
	if e.output == "json" {
		return writeJSON(e.env.Stdout, answer)
	}
	p := answer.Plan
	fmt.Fprintf(e.env.Stderr, "eyas: %s: by pid %d, as uid %d and gid %d (host %d and %d)\n", chainText(answer.Chain), p.PID, p.UID, p.GID, p.HostUID, p.HostGID)
	for _, n := range p.Notes {
		fmt.Fprintf(e.env.Stderr, "eyas: %s\n", Escape(n))
	}
	if e.run && enter.TypesBack("/proc") && p.UserNamespaced() {
		fmt.Fprintln(e.env.Stderr, "eyas: on this kernel what runs in there can type into this terminal (dev.tty.legacy_tiocsti): if it may be hostile, enter by setsid -w, with </dev/null 2>&1 | cat -v")
	}
	if e.run {
		return target.Exec(e.env.Getenv("TERM"))
	}
	_, err = fmt.Fprint(e.env.Stdout, answer.Script)
	return err
}

// notFound makes of a process that has ended somebody who is not there.
func notFound(err error) error {
	if errors.Is(err, enter.ErrEnded) {
		return fmt.Errorf("%w: %w", answers.ErrNotFound, err)
	}
	return err
}

// ended says so if a container that is not there is remembered.
func ended(ctx context.Context, q api.Querier, chain string, err error) error {
	if !errors.Is(err, identity.ErrNoContainer) {
		return err
	}
	known := q.PS(ctx, chain, func(identity.Identity) error { return nil })
	if known != nil {
		return err // the same, or why it is not known
	}
	return fmt.Errorf("container %q: %w: it has ended, so there is nothing to enter: see eyas oom, eyas logs and eyas whois for what is known of it", clip(chain, 128), answers.ErrNotFound)
}
