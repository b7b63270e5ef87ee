package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newWhois(env Env) *cobra.Command {
	k := &client{env: env}
	var in, at string
	c := &cobra.Command{
		Use:   "whois pid|uid|gid N",
		Short: "Say whose a pid, uid or gid is, at every level, also after death",
		Example: "  eyas whois pid 48213\n  eyas whois uid 1074790400 --at 2026-01-31T03:00:00Z\n" +
			"  eyas whois --in web/db pid 7       # the container's pid 7",
		Args:      args(cobra.ExactArgs(2)),
		ValidArgs: []string{"pid", "uid", "gid"},
		RunE: func(c *cobra.Command, a []string) error {
			n, err := strconv.ParseUint(a[1], 10, 32)
			if err != nil {
				return usageError{fmt.Errorf("whois %s: want a number from 0 to 4294967295, got %q", a[0], a[1])}
			}
			when, err := parseTime("--at", at)
			if err != nil {
				return err
			}
			switch {
			case a[0] == "pid" && at != "":
				return usageError{fmt.Errorf("--at goes with uid and gid: the last process that had a pid is found without")}
			case a[0] == "pid":
				return k.ask(c.Context(), func(ctx context.Context, q api.Querier) error {
					return k.whoisPID(ctx, q, in, uint32(n))
				})
			case a[0] == "uid", a[0] == "gid":
				return k.ask(c.Context(), func(ctx context.Context, q api.Querier) error {
					return k.whoisID(c, ctx, q, answers.IDQuery{GID: a[0] == "gid", ID: uint32(n), In: in, At: when})
				})
			}
			return usageError{fmt.Errorf("whois: want pid, uid or gid, got %q", a[0])}
		},
	}
	k.flags(c)
	c.Flags().StringVar(&in, "in", "", "container in which N is meant: an id, a name, or a path of them from the outside in")
	c.Flags().StringVar(&at, "at", "", "time to ask about: RFC 3339, or a duration ago such as 3h")
	_ = c.RegisterFlagCompletionFunc("in", k.complete)
	return c
}

func parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("2006-01-02 15:04:05", s, time.Local); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d.Abs()), nil
	}
	return time.Time{}, usageError{fmt.Errorf("%s: want a time such as 2026-01-31T03:00:00Z, or a duration ago such as 3h, got %q", flag, s)}
}

func (k *client) whoisPID(ctx context.Context, q api.Querier, in string, pid uint32) error {
	var id identity.Identity
	var err error
	if in != "" {
		id, err = q.InnerPID(ctx, in, identity.PID(pid))
	} else {
		id, err = q.PID(ctx, identity.HostPID(pid))
	}
	if err != nil {
		return err
	}
	if k.output == "json" {
		return writeJSON(k.env.Stdout, id)
	}
	printIdentity(k.env.Stdout, id, k.output == "wide")
	return nil
}

func printIdentity(w io.Writer, id identity.Identity, wide bool) {
	fmt.Fprintf(w, "pid %d: %s\n", id.Host.PID, chainText(id.Chain))
	field := func(name, format string, a ...any) { fmt.Fprintf(w, "  %-11s %s\n", name, fmt.Sprintf(format, a...)) }
	field("state", "%s", stateText(id))
	field("command", "%s", Escape(clip(id.Command, 512)))
	if wide {
		field("comm", "%s", Escape(id.Comm))
		field("exe", "%s", Escape(id.Exe))
		field("parent", "%d", id.PPID)
		field("threads", "%d", id.Threads)
		field("login uid", "%s", idText(id.LoginUID))
	}
	for _, l := range id.Chain {
		if l.Pod != nil {
			field("pod", "%s", Escape(podName(l.Pod)))
		}
	}
	field("cgroup", "%s", Escape(id.Cgroup))
	if id.Escaped {
		field("escaped", "its cgroup lies outside the subtree of the container around it: limits and accounting there miss it")
	}
	field("started", "%s (%s ago)", id.Host.StartTime.Format(time.RFC3339), age(id.Host.StartTime))
	field("seen", "%s to %s", id.FirstSeen.Format(time.RFC3339), id.LastSeen.Format(time.RFC3339))
	fmt.Fprintln(w)
	header := []string{"LEVEL", "WHERE", "ID", "PID", "UID", "GID"}
	if wide {
		header = append(header, "PIDNS", "USERNS", "IMAGE")
	}
	t := newTable(w, header...)
	for _, l := range id.Chain {
		row := []any{l.Level, linkText(l), l.ID, idText(l.PID), idText(l.UID), idText(l.GID)}
		if wide {
			row = append(row, l.PIDNS, l.UserNS, Escape(clip(l.Image, 128)))
		}
		t.AppendRow(row)
	}
	t.Render()
	if wide && len(id.UserNSs) > 1 {
		fmt.Fprintln(w)
		t := newTable(w, "USER LEVEL", "USERNS", "UID", "GID")
		for _, u := range id.UserNSs {
			t.AppendRow([]any{u.Level, u.UserNS, idText(u.UID), idText(u.GID)})
		}
		t.Render()
	}
}

func stateText(id identity.Identity) string {
	if id.Exit == nil {
		if id.State == "exited" {
			return "exited, how is not known"
		}
		return id.State
	}
	s := id.State
	switch {
	case id.Exit.Signal != 0:
		s += " by signal " + signalName(id.Exit.Signal)
	default:
		s += fmt.Sprintf(" with status %d", id.Exit.Code)
	}
	if id.Exit.OOM {
		s += ", chosen by the OOM killer"
	}
	return s
}

func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return strconv.Itoa(n)
}

func (k *client) whoisID(c *cobra.Command, ctx context.Context, q api.Querier, query answers.IDQuery) error {
	found, err := q.ID(ctx, query)
	if err != nil && (query.In != "" || !errors.Is(err, answers.ErrNotFound)) {
		return err
	}
	a := idAnswer{IDAnswer: found}
	if query.In == "" {
		for _, n := range k.held(c, query.ID, &a) {
			fmt.Fprintf(k.env.Stderr, "eyas: %s\n", Escape(n))
		}
	}
	if err != nil && len(a.Held) == 0 {
		return err
	}
	if k.output == "json" {
		return writeJSON(k.env.Stdout, a)
	}
	printID(k.env.Stdout, a)
	return nil
}

func printID(w io.Writer, a idAnswer) {
	switch {
	case a.Inner != nil && a.ID != nil:
		fmt.Fprintf(w, "%s %d in %s is host %s %d\n", a.Kind, *a.Inner, a.In, a.Kind, *a.ID)
	case a.Inner != nil:
		fmt.Fprintf(w, "%s %d in %s is unmapped\n", a.Kind, *a.Inner, a.In)
	default:
		fmt.Fprintf(w, "host %s %d\n", a.Kind, *a.ID)
	}
	if a.Note != "" {
		fmt.Fprintln(w, "  "+Escape(a.Note))
	}
	for _, p := range a.Pods {
		fmt.Fprintln(w, "  "+Escape(podText(p, a.Kind)))
	}
	if a.MorePods > 0 {
		fmt.Fprintf(w, "  and %d earlier pods\n", a.MorePods)
	}
	for _, h := range a.Held {
		fmt.Fprintf(w, "  given to %s: %s\n", Escape(h.Source), h.text())
	}
	if len(a.Owners) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "CONTAINER", "WHERE", strings.ToUpper(a.Kind)+" AT EACH LEVEL", "STATE", "SEEN", "PROCESSES")
	for _, o := range a.Owners {
		var ids []string
		for _, l := range o.Chain {
			if a.Kind == "gid" {
				ids = append(ids, idText(l.GID))
			} else {
				ids = append(ids, idText(l.UID))
			}
		}
		last := o.Chain[len(o.Chain)-1]
		t.AppendRow([]any{
			last.ID, chainText(o.Chain), strings.Join(ids, " ▸ "), o.State,
			o.FirstSeen.Format(time.RFC3339) + " to " + o.LastSeen.Format(time.RFC3339), pidsText(o),
		})
	}
	t.Render()
}

func pidsText(o identity.IDOwner) string {
	if len(o.Processes) == 0 {
		return "-"
	}
	var pids []string
	for _, p := range o.Processes {
		pids = append(pids, strconv.FormatUint(uint64(p), 10))
	}
	s := strings.Join(pids, ",")
	if o.More > 0 {
		s += fmt.Sprintf(" and %d more", o.More)
	}
	return s
}
