package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/agent/advise"
	"github.com/eyas-agent/eyas/agent/daemon"
	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/agent/kube"
	"github.com/eyas-agent/eyas/manifests"
)

// guide is where each mode and claim has an anchor.
const guide = "docs/decision-guide.md"

func newAdvise(env Env) *cobra.Command {
	k := &client{env: env}
	workload, kubeconfig, kubelet, manifest := string(advise.Build), "", daemon.DefaultConfig().KubeletRoot, false
	c := &cobra.Command{
		Use:   "advise [--workload build|dev]",
		Short: "Say which isolation, storage, network and ids suit this node, and why",
		Long: "Look at this node, and at the cluster if one is to be found, and say which way of\n" +
			"running containers in containers suits them, what is to be mended first, and what to\n" +
			"do and to leave. It says what docs/decision-guide.md says; each mode and claim has an\n" +
			"anchor there, and a source or a command that shows it. -o wide shows all of them.\n\n" +
			"Exit status: 0 if a mode can be recommended, 1 if none works here, 2 for a wrong call.\n" +
			"An agent need not run; as root it sees more.",
		Example: "  eyas advise\n  eyas advise --workload dev -o wide\n  eyas advise --workload build --manifest | kubectl apply -f -",
		Args:    args(cobra.NoArgs), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := k.check(); err != nil {
				return err
			}
			w := advise.Workload(workload)
			if w != advise.Build && w != advise.Dev {
				return usageError{fmt.Errorf("--workload: want build or dev, got %q", clip(workload, 64))}
			}
			o := doctor.NodeOptions{StateDir: k.state, Kubelet: kubelet, Agent: k.health}
			if env.Root != "" {
				o.Root, o.Proc, o.Sys = env.Root, filepath.Join(env.Root, "proc"), filepath.Join(env.Root, "sys")
			}
			r := advise.Advise(w, doctor.NewNode(o).Check(c.Context()), lookAtCluster(c.Context(), kubeconfig))
			if err := k.advice(r, manifest); err != nil {
				return err
			}
			if r.Recommended == nil {
				return errors.New("no mode works here: see what each of them lacks, and eyas doctor node")
			}
			return nil
		},
	}
	k.flags(c)
	c.Flags().StringVar(&workload, "workload", workload, "what the containers inside are for: build or dev")
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "file that says where the API server is (default: $KUBECONFIG, ~/.kube/config, or as a pod)")
	c.Flags().StringVar(&kubelet, "kubelet-root", kubelet, "kubelet's root directory")
	c.Flags().BoolVar(&manifest, "manifest", manifest, "print the manifest alone, with what to change in it as comments")
	_ = c.RegisterFlagCompletionFunc("workload", cobra.FixedCompletions([]string{string(advise.Build), string(advise.Dev)}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// lookAtCluster asks, if there is anybody to ask.
func lookAtCluster(ctx context.Context, kubeconfig string) (c advise.Cluster) {
	c.Version, c.Handlers, c.Err = kube.LookAtCluster(ctx, kubeconfig)
	if errors.Is(c.Err, kube.ErrNone) {
		c.Err = nil
	}
	return c
}

// advised is the answer in JSON.
type advised struct {
	advise.Report
	Guide    string `json:"guide"`
	Manifest string `json:"manifest"` // YAML; empty: no mode is recommended
}

func (k *client) advice(r advise.Report, manifest bool) error {
	dir, yaml := manifests.Examples()[string(r.Workload)], ""
	if r.Recommended != nil {
		b, err := manifests.Example(dir)
		if err != nil {
			return err
		}
		for _, c := range r.Changes {
			yaml += "# To change, for " + r.Recommended.Name + ": " + c + "\n"
		}
		yaml += string(b)
	}
	w := k.env.Stdout
	switch {
	case k.output == "json":
		return writeJSON(w, advised{r, guide, yaml})
	case manifest:
		_, err := io.WriteString(w, yaml)
		return err
	}
	printMode(w, r, dir)
	printModes(w, r.Modes)
	printClaims(w, r.Claims, k.output == "wide")
	_, err := fmt.Fprintf(w, "\n%s has each mode and claim by its name: %[1]s#NAME\n", guide)
	return err
}

func printMode(w io.Writer, r advise.Report, dir string) {
	field := func(name, format string, a ...any) { fmt.Fprintf(w, "  %-9s %s\n", name, fmt.Sprintf(format, a...)) }
	troubles := func(name string, all []advise.Reason) {
		for _, x := range all {
			field(name, "%s", reasonText(x))
			if x.Fix != "" {
				field("", "  fix: %s", Escape(x.Fix))
			}
		}
	}
	m := r.Recommended
	if m == nil {
		fmt.Fprintf(w, "for %s: none of the modes works here; the nearest is %s (%s)\n", r.Workload, r.Nearest.Name, r.Nearest.ID)
		troubles("lacks", r.Nearest.Reasons)
		return
	}
	fmt.Fprintf(w, "for %s: %s (%s)\n", r.Workload, m.Name, m.ID)
	field("escape", "who escapes is %s", m.Escape)
	field("inside", "%s", m.Inside)
	field("source", "%s", m.Source)
	name := "why"
	for _, x := range m.Reasons {
		field(name, "%s", reasonText(x))
		name = ""
	}
	troubles("first", m.First)
	field("manifest", "kubectl apply -k manifests/%s, or: eyas advise --workload %s --manifest", dir, r.Workload)
	for _, c := range r.Changes {
		field("change", "%s", c)
	}
}

func reasonText(x advise.Reason) string {
	return fmt.Sprintf("%s %s: %s", x.State, x.Check, Escape(clip(x.Found, 120)))
}

func printModes(w io.Writer, all []advise.ModeHere) {
	fmt.Fprintln(w)
	t := newTable(w, "MODE", "HERE", "WHO ESCAPES IS", "TAKE IT FOR", "WHY")
	for _, m := range all {
		why := "-"
		if m.Verdict != advise.Fit && m.Verdict != advise.Recommended && len(m.Reasons) > 0 {
			var parts []string
			for _, x := range m.Reasons {
				parts = append(parts, x.Check+": "+Escape(clip(x.Found, 60)))
			}
			why = strings.Join(parts, "; ")
		}
		t.AppendRow([]any{m.ID, m.Verdict, m.Escape, m.Use, why})
	}
	t.Render()
}

// printClaims shows what is not as it should be here, or all.
func printClaims(w io.Writer, all []advise.ClaimHere, wide bool) {
	fmt.Fprintln(w)
	t := newTable(w, "TOPIC", "CLAIM", "HERE", "WHAT", "SOURCE")
	for _, c := range all {
		here := orDash(string(c.State))
		if len(c.Reasons) > 0 && c.State != doctor.OK && c.State != doctor.NotApplicable {
			here += " (" + c.Reasons[0].Check + ")"
		}
		if wide && len(c.Reasons) > 0 {
			here += ": " + Escape(clip(c.Reasons[0].Found, 60))
		}
		t.AppendRow([]any{c.Topic, c.ID, here, c.Text, c.Source})
	}
	t.Render()
}
