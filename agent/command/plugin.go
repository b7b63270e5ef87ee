package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/eyas-agent/eyas/agent/kube/remote"
)

// Names of this program as a plugin of kubectl: as kubectl starts it, and as kubectl
// asks it for completions.
const (
	pluginName    = "kubectl-eyas"
	completerName = "kubectl_complete-eyas"
)

// plugin runs commands of eyas where a pod is.
type plugin struct {
	env   Env
	flags remote.Flags
	node  string
}

// newPlugin makes of the commands of eyas, with their flags and their help, those of
// `kubectl eyas`: what is a CHAIN there is NAMESPACE/POD/CONTAINER/… here.
func newPlugin(env Env) *cobra.Command {
	p := &plugin{env: env}
	root := newRootOf(&cobra.Command{
		Use: pluginName, Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl eyas"},
		Short: "Ask the eyas agent on a pod's node who is who in containers inside containers",
		Long: "Run eyas in the agent's pod on the node of a pod. Where eyas takes a CHAIN, name\n" +
			"NAMESPACE/POD[/CONTAINER[/NESTED…]], or with -n POD[/CONTAINER[/NESTED…]]; for what\n" +
			"has none, or of pods that are gone, name the node: --node. Without either, whois uid\n" +
			"and gid ask all nodes. Exit status: that of eyas there, or 1.\n\n" +
			"It takes get and list on pods, and create and get on pods/exec in the agent's\n" +
			"namespace: manifests/components/oncall. Who has that can do what the agent can.",
		Example: "  kubectl eyas ps team-a/web-0\n  kubectl eyas whois --in team-a/web-0/app/db pid 7\n  kubectl eyas whois uid 1074790400\n" +
			"  kubectl eyas top -n team-a web-0\n  kubectl eyas doctor node --node node-7",
	})
	p.flags.Bind(root.PersistentFlags())
	root.PersistentFlags().StringVar(&p.node, "node", "", "node to ask, for what names no pod")
	for _, c := range []*cobra.Command{
		newWhois(env), newPS(env), newTree(env), newTop(env), newMap(env), newOOM(env), newDU(env), newLogs(env), newDoctor(env), newExplain(env), newEnter(env), newLeases(env),
	} {
		p.adopt(c)
		root.AddCommand(c)
	}
	root.AddCommand(newVersion(env))
	return root
}

// adopt makes a command of this machine one of another. Its flags and what checks its
// arguments stay as they are.
func (p *plugin) adopt(c *cobra.Command) {
	c.RunE = p.run
	c.ValidArgsFunction = p.complete
	if c.Name() == "tree" { // a pod says which node
		c.Use, c.Args = "tree [NAMESPACE/POD]", args(cobra.MaximumNArgs(1))
	}
	c.Use = strings.ReplaceAll(c.Use, "CHAIN", "NAMESPACE/POD/…")
	c.Example = ""
	for _, name := range []string{"socket", "state-dir", "config"} {
		if f := c.Flags().Lookup(name); f != nil {
			f.Hidden = true
		}
	}
}

// chained are commands whose first argument is a chain.
var chained = map[string]bool{"ps": true, "top": true, "map": true, "oom": true, "du": true, "logs": true, "enter": true, "doctor": true, "explain": true}

// isChain reports whether the first argument of a command is one.
func (p *plugin) isChain(name string, a []string) bool {
	switch {
	case len(a) == 0 || !chained[name]:
		return false
	case name == "doctor":
		return a[0] != "node"
	case name == "explain": // else it is a text, or what to explain
		return len(a) == 1 && a[0] != "-" && !strings.ContainsAny(a[0], " \t\n") && (strings.Contains(a[0], "/") || p.flags.NamespaceGiven())
	}
	return true
}

func (p *plugin) run(c *cobra.Command, a []string) error {
	if run := c.Flags().Lookup("run"); run != nil && run.Value.String() == "true" {
		return usageError{errors.New("--run: the agent's image has no nsenter and no shell: run what is printed on the node")}
	}
	cluster, err := p.flags.Open(Version())
	if err != nil {
		return err
	}
	j := &job{plugin: p, cluster: cluster, node: p.node}
	argv, err := j.argv(c, a)
	if err != nil {
		return err
	}
	if j.node == "" && c.Name() == "whois" && (a[0] == "uid" || a[0] == "gid") {
		return j.everywhere(c.Context(), argv, c.Flags().Lookup("output").Value.String() == "json")
	}
	if j.node == "" {
		return usageError{fmt.Errorf("%s: which node? Name a pod, NAMESPACE/POD/…, or --node NODE", c.Name())}
	}
	agent, err := cluster.Agent(c.Context(), j.node)
	if err != nil {
		return err
	}
	streams := remote.Streams{Out: p.env.Stdout, Err: p.env.Stderr}
	if c.Name() == "explain" && len(a) == 1 && a[0] == "-" {
		streams.In = p.env.Stdin
	}
	if lasts(c) {
		in, held := io.Pipe()
		defer held.Close() // with that it ends there, too
		argv, streams.In = append([]string{"--" + attendFlag}, argv...), in
	}
	if in, out, ok := p.terminal(c); ok {
		if streams.Terminal, err = remote.TakeTerminal(in, out); err != nil {
			return err
		}
		defer func() { _ = streams.Terminal.Close() }() // it is as it was, or gone
		streams.In = in
	}
	err = cluster.Run(c.Context(), agent, argv, streams)
	if c.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return nil // what follows is ended by its caller
	}
	return err
}

// terminal returns the caller's terminal if a command wants one.
func (p *plugin) terminal(c *cobra.Command) (in, out *os.File, ok bool) {
	if c.Name() != "top" || c.Flags().Lookup("once").Value.String() == "true" || c.Flags().Lookup("output").Value.String() == "json" {
		return nil, nil, false
	}
	in, ok1 := p.env.Stdin.(*os.File)
	out, ok2 := p.env.Stdout.(*os.File)
	return in, out, ok1 && ok2 && isTerminal(in) && isTerminal(out)
}

// job is one call of a command elsewhere.
type job struct {
	*plugin
	cluster *remote.Cluster
	node    string
}

// argv is the call of eyas there, with chains in the place of pods; it finds the node.
func (j *job) argv(c *cobra.Command, a []string) (argv []string, err error) {
	argv = []string{c.Name()}
	c.Flags().Visit(func(f *pflag.Flag) {
		if err != nil || c.Root().PersistentFlags().Lookup(f.Name) != nil {
			return
		}
		value := f.Value.String()
		if f.Name == "in" {
			value, err = j.locate(c.Context(), value)
		}
		argv = append(argv, "--"+f.Name+"="+value)
	})
	if err != nil {
		return nil, err
	}
	switch {
	case c.Name() == "tree" && len(a) == 1:
		node, err := j.cluster.NodeOf(c.Context(), a[0])
		if err != nil {
			return nil, err
		}
		return argv, j.at(node)
	case j.isChain(c.Name(), a):
		chain, err := j.locate(c.Context(), a[0])
		if err != nil {
			return nil, err
		}
		a = append([]string{chain}, a[1:]...)
	}
	if c.Name() == "enter" {
		return append(append(argv, a[0], "--"), a[1:]...), nil
	}
	if len(a) > 0 { // a text may begin with a dash
		argv = append(append(argv, "--"), a...)
	}
	return argv, nil
}

// locate makes a chain of a target. With --node it is a chain of that node, unless it
// is a pod's: containers of pods that are gone have names and ids there alone.
func (j *job) locate(ctx context.Context, target string) (string, error) {
	if j.plugin.node != "" {
		return target, nil
	}
	place, err := j.cluster.Locate(ctx, target)
	if err != nil {
		return "", err
	}
	return place.Chain, j.at(place.Node)
}

// at notes the node of a call, of which there is one.
func (j *job) at(node string) error {
	if j.node != "" && j.node != node {
		return usageError{fmt.Errorf("what is named is on two nodes, %s and %s", j.node, node)}
	}
	j.node = node
	return nil
}

// complete offers pods.
func (p *plugin) complete(c *cobra.Command, a []string, _ string) ([]string, cobra.ShellCompDirective) {
	if c.Name() == "whois" && len(a) == 0 {
		return []string{"pid", "uid", "gid"}, cobra.ShellCompDirectiveNoFileComp
	}
	cluster, err := p.flags.Open(Version())
	if err != nil || len(a) > 0 || !chained[c.Name()] && c.Name() != "tree" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
	defer cancel()
	names, err := cluster.Pods(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if c.Name() == "doctor" {
		names = append(names, "node\tthe node itself, with --node")
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// lasts reports whether a command goes on until its caller ends it.
func lasts(c *cobra.Command) bool {
	follow, trace := c.Flags().Lookup("follow"), c.Flags().Lookup("trace")
	return follow != nil && follow.Value.String() == "true" || trace != nil && trace.Changed
}
