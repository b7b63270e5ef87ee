package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/agent/explain"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newExplain(env Env) *cobra.Command {
	x := &explainer{client: client{env: env}}
	c := &cobra.Command{
		Use:   "explain \"ERROR TEXT\"|-|CHAIN|pid N|path FILE",
		Short: "Say what an error means, what a container was refused and why, or why a file is nobody's",
		Long: "Say what an error of containers in containers means: its cause, its fix, and\n" +
			"whether the cause is found on this node, or in a container (--in).\n" +
			"With -, the text is read from stdin, up to 64 KiB.\n\n" +
			"With CHAIN or pid: what the container, those inside it, or the process with this\n" +
			"host pid were refused: the last of each kind, with its cause and its fix.\n\n" +
			"With path: a file's ids on disk, the mount it is on, its ids at every level of\n" +
			"a container's chain, and why it shows as 65534 (nobody).\n\n" +
			"Exit status: 0 if a cause is known, 1 if none is (or the file cannot be looked\n" +
			"at, or nothing was refused), 2 for a wrong call, 3 if there is no such container.",
		Example: "  eyas explain web/builder --trace 1m\n" +
			"  eyas explain 'newuidmap: write to uid_map failed: Operation not permitted' --in web/builder\n" +
			"  podman run alpine 2>&1 | eyas explain -\n" +
			"  eyas explain web/builder --follow\n" +
			"  eyas explain path /data/file --in web/builder",
		Args: args(cobra.RangeArgs(1, 2)), ValidArgsFunction: x.completeArgs,
		RunE: func(c *cobra.Command, a []string) error {
			if err := x.check(); err != nil {
				return err
			}
			switch {
			case a[0] == "path" && len(a) == 2:
				return x.path(c.Context(), a[1])
			case a[0] == "pid" && len(a) == 2:
				return x.pid(c.Context(), a[1])
			case a[0] == "pid":
				return usageError{errors.New("explain pid: want a host pid: see eyas explain --help")}
			case a[0] == "path":
				return usageError{errors.New("explain path: want a FILE: see eyas explain --help")}
			case len(a) == 2:
				return usageError{fmt.Errorf("explain: want one text, got %q and %q: put it in quotes", clip(a[0], 64), clip(a[1], 64))}
			}
			if x.follow || x.trace != 0 {
				return x.refusals(c.Context(), answers.DenialQuery{Chain: a[0]})
			}
			return x.error(c.Context(), a[0])
		},
	}
	x.flags(c)
	c.Flags().StringVar(&x.in, "in", "", "container in which the error came up, or FILE is: an id, a name, or a path of them")
	c.Flags().BoolVar(&x.noChecks, "no-checks", false, "look at nothing here: the error comes from another machine")
	c.Flags().BoolVarP(&x.follow, "follow", "f", false, "with CHAIN or pid: go on, and print what is refused from now on")
	c.Flags().DurationVar(&x.trace, "trace", 0, "with CHAIN or pid: for so long, up to 10m, trace every call that is refused, also by modes of files, servers of file systems and seccomp filters; it costs every system call of the node a little")
	_ = c.RegisterFlagCompletionFunc("in", x.complete)
	return c
}

func (x *explainer) completeArgs(c *cobra.Command, a []string, word string) ([]string, cobra.ShellCompDirective) {
	switch {
	case len(a) == 0:
		names, _ := x.complete(c, a, word)
		return append(names, "path\tids of a file at every level", "pid\twhat a process was refused", "-\tread an error text from stdin"), cobra.ShellCompDirectiveNoFileComp
	case len(a) == 1 && a[0] == "path":
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// explainer is one call of explain.
type explainer struct {
	client
	in       string
	noChecks bool
	follow   bool
	trace    time.Duration
}

// errUnknown: nothing in the text is known.
var errUnknown = errors.New("no known error in the text, and no container: see eyas doctor node, or eyas doctor CHAIN, for what keeps containers from nesting")

func (x *explainer) error(ctx context.Context, arg string) error {
	if x.noChecks && x.in != "" {
		return usageError{errors.New("--no-checks and --in exclude each other: --in names the container to check")}
	}
	given, err := x.text(arg)
	if err != nil {
		return err
	}
	matches := explain.Find(given)
	if len(matches) == 0 && !strings.ContainsAny(given, " \t\n") {
		err := x.refusals(ctx, answers.DenialQuery{Chain: given})
		if !errors.Is(err, identity.ErrNoContainer) {
			return err
		}
	}
	if len(matches) == 0 {
		if x.output == "json" {
			if err := writeJSON(x.env.Stdout, []explain.Explanation{}); err != nil {
				return err
			}
		}
		return errUnknown
	}
	all, err := x.judge(ctx, matches)
	if err != nil {
		return err
	}
	if x.output == "json" {
		return writeJSON(x.env.Stdout, all)
	}
	printExplanations(x.env.Stdout, all, x.output == "wide", strings.Contains(given, "\n"))
	return nil
}

// text returns the error text, "-" for stdin's.
func (x *explainer) text(arg string) (string, error) {
	what := "the text"
	if arg == "-" {
		if x.env.Stdin == nil {
			return "", usageError{errors.New("explain -: there is no stdin")}
		}
		b, err := io.ReadAll(io.LimitReader(x.env.Stdin, explain.MaxText+1))
		if err != nil {
			return "", fmt.Errorf("read the text from stdin: %w", err)
		}
		arg, what = string(b), "stdin"
	}
	switch {
	case len(arg) > explain.MaxText:
		return "", usageError{fmt.Errorf("explain: %s has more than %d bytes: give the part with the error, such as by tail -c %[2]d", what, explain.MaxText)}
	case strings.TrimSpace(arg) == "":
		return "", usageError{fmt.Errorf("explain: %s is empty", what)}
	}
	return arg, nil
}

func (x *explainer) judge(ctx context.Context, matches []explain.Match) (all []explain.Explanation, err error) {
	if x.noChecks {
		all = explain.Judge(ctx, matches, nil, nil)
		for i := range all {
			all[i].Note = "nothing was looked at (--no-checks)"
		}
		return all, nil
	}
	node := doctor.NewNode(doctor.NodeOptions{Proc: daemon.DefaultConfig().ProcRoot, StateDir: x.state, Agent: x.health})
	if x.in == "" {
		return explain.Judge(ctx, matches, node, nil), nil
	}
	err = x.ask(ctx, func(ctx context.Context, q api.Querier) error {
		c, err := openContainer(ctx, q, node, x.in)
		if err != nil {
			return err
		}
		defer c.Close()
		all = explain.Judge(ctx, matches, node, c)
		return c.Alive()
	})
	return all, err
}

// verdictText says what the checks found, in words.
func verdictText(e explain.Explanation) string {
	var confirms, blind []string
	for _, f := range e.Checks {
		switch f.Says {
		case explain.SaysConfirms:
			confirms = append(confirms, f.On+" "+f.ID)
		case explain.SaysNothing:
			blind = append(blind, f.On+" "+f.ID)
		}
	}
	switch {
	case e.Verdict == explain.Confirmed:
		return "confirmed by " + strings.Join(confirms, ", ")
	case e.Verdict == explain.RuledOut:
		return "ruled out here: all of its checks are fine"
	case e.Note != "":
		return "possible: " + e.Note
	case len(blind) > 0:
		return "possible: these cannot tell: " + strings.Join(blind, ", ")
	}
	return "possible: all that is checked is fine, but other causes are not checked"
}

func printExplanations(w io.Writer, all []explain.Explanation, wide, lines bool) {
	for i, e := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s: %s\n", e.ID, Escape(e.Error))
		field := func(name, text string) {
			for _, line := range strings.Split(text, "\n") {
				fmt.Fprintf(w, "  %-8s %s\n", name, line)
				name = ""
			}
		}
		if lines {
			field("line", fmt.Sprintf("%d: %s", e.Line, Escape(clip(strings.TrimSpace(e.Text), 200))))
		}
		field("cause", text.WrapSoft(e.Cause, 100))
		field("fix", e.Fix)
		field("seen in", strings.Join(e.Seen, ", "))
		field("here", verdictText(e))
		printFindings(w, e.Checks, wide)
	}
}

// printFindings shows what was looked at; unless all is wanted, not what is fine.
func printFindings(w io.Writer, all []explain.Finding, wide bool) {
	for _, f := range all {
		if f.State == explain.NotRun || !wide && f.Says == explain.SaysFine {
			continue
		}
		fmt.Fprintf(w, "  %-8s %s %s %s: %s\n", "", f.State, f.On, f.ID, Escape(f.Found))
	}
}
