package remote

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// What manifests/base calls the agent.
const (
	agentLabel     = "app.kubernetes.io/name=eyas"
	agentContainer = "eyas"
	agentProgram   = "/eyas"
)

// Agent is a pod of the agent.
type Agent struct{ Namespace, Name, Node string }

// maxPods bounds lists of pods.
const maxPods = 5000

// Agent finds the agent of a node.
func (c *Cluster) Agent(ctx context.Context, node string) (Agent, error) {
	pods, err := c.agentPods(ctx, "spec.nodeName="+node)
	if err != nil {
		return Agent{}, err
	}
	if len(pods) == 0 {
		return Agent{}, fmt.Errorf("no eyas agent on node %q in namespace %s: see kubectl -n %[2]s get pods -o wide -l %s; "+
			"install it (docs/install.md), name its namespace with --agent-namespace, or let its DaemonSet tolerate the node's taints", node, c.agents, agentLabel)
	}
	i := slices.IndexFunc(pods, runs)
	if i < 0 {
		p := pods[0]
		return Agent{}, fmt.Errorf("the eyas agent on node %q does not run (%s): see kubectl -n %s describe pod %s", node, troubleOf(p), p.Namespace, p.Name)
	}
	return agentOf(pods[i]), nil
}

// Agents finds those of all nodes that run, sorted by node, and says what becomes of
// the others.
func (c *Cluster) Agents(ctx context.Context) (agents []Agent, troubles []string, err error) {
	pods, err := c.agentPods(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	for _, p := range pods {
		if runs(p) {
			agents = append(agents, agentOf(p))
		} else {
			troubles = append(troubles, fmt.Sprintf("node %s: its agent does not run (%s)", p.Spec.NodeName, troubleOf(p)))
		}
	}
	if len(pods) == 0 {
		return nil, nil, fmt.Errorf("no eyas agent in namespace %s: install it (docs/install.md), or name its namespace with --agent-namespace", c.agents)
	}
	slices.SortFunc(agents, func(a, b Agent) int { return strings.Compare(a.Node, b.Node) })
	return agents, troubles, nil
}

func (c *Cluster) agentPods(ctx context.Context, fields string) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	r := c.client.Get().Namespace(c.agents).Resource("pods").Param("labelSelector", agentLabel).Param("limit", fmt.Sprint(maxPods))
	if fields != "" {
		r = r.Param("fieldSelector", fields)
	}
	if err := r.Do(ctx).Into(list); apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("look for the eyas agent: %w: it takes list on pods in %s: see manifests/components/oncall", err, c.agents)
	} else if err != nil {
		return nil, fmt.Errorf("look for the eyas agent: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return !slices.ContainsFunc(p.Spec.Containers, func(k corev1.Container) bool { return k.Name == agentContainer })
	}), nil
}

func agentOf(p corev1.Pod) Agent {
	return Agent{Namespace: p.Namespace, Name: p.Name, Node: p.Spec.NodeName}
}

// runs reports whether something can be executed in an agent's pod. It need not be
// ready: an agent that is not is asked about, too.
func runs(p corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == agentContainer && s.State.Running != nil
	})
}

func troubleOf(p corev1.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		switch {
		case s.Name != agentContainer:
		case s.State.Waiting != nil:
			return said(s.State.Waiting.Reason, s.State.Waiting.Message)
		case s.State.Terminated != nil:
			return said(s.State.Terminated.Reason, s.State.Terminated.Message)
		}
	}
	if p.DeletionTimestamp != nil {
		return "it is being deleted"
	}
	return said(string(p.Status.Phase), p.Status.Message)
}

// Pods lists names of pods for completion: NAMESPACE/POD, or, with a namespace given
// apart, POD.
func (c *Cluster) Pods(ctx context.Context) ([]string, error) {
	list := &corev1.PodList{}
	r := c.client.Get().Resource("pods").Param("limit", "500")
	if c.given {
		r = r.Namespace(c.namespace)
	}
	if err := r.Do(ctx).Into(list); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range list.Items {
		name := p.Namespace + "/" + p.Name
		if c.given {
			name = p.Name
		}
		names = append(names, name+"\t"+p.Spec.NodeName)
	}
	return names, nil
}
