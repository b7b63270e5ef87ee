package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ErrNotFound means that there is no such pod, or container in it.
var ErrNotFound = errors.New("not found")

// Place is where a target is.
type Place struct {
	Node  string
	Chain string // as eyas on that node takes it
}

// defaultContainer is the annotation by which kubectl, too, takes one of several.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// NodeOf finds the node of a target, of which the containers need not have started.
func (c *Cluster) NodeOf(ctx context.Context, target string) (string, error) {
	pod, _, err := c.pod(ctx, target)
	if err != nil {
		return "", err
	}
	return pod.Spec.NodeName, nil
}

// Locate finds the node of a target, NAMESPACE/POD[/CONTAINER[/NESTED…]] or, if the
// namespace was given apart, POD[/CONTAINER[/NESTED…]], and makes of it a chain: the
// container's id, by which the agent knows it beyond doubt, and what is inside it.
func (c *Cluster) Locate(ctx context.Context, target string) (Place, error) {
	pod, rest, err := c.pod(ctx, target)
	if err != nil {
		return Place{}, err
	}
	name, err := containerOf(pod, rest)
	if err != nil {
		return Place{}, err
	}
	all := slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses)
	i := slices.IndexFunc(all, func(s corev1.ContainerStatus) bool { return s.Name == name })
	if i < 0 || all[i].ContainerID == "" {
		why := "kubelet has not told of it yet"
		if i >= 0 && all[i].State.Waiting != nil {
			why = said(all[i].State.Waiting.Reason, all[i].State.Waiting.Message)
		}
		return Place{}, fmt.Errorf("container %s of pod %s/%s has not started (%s): ask about its node: --node %s", name, pod.Namespace, pod.Name, why, pod.Spec.NodeName)
	}
	_, id, ok := strings.Cut(all[i].ContainerID, "://")
	if !ok || id == "" || strings.ContainsAny(id, "/▸ ") {
		return Place{}, fmt.Errorf("container %s of pod %s/%s has an id of no runtime: %q", name, pod.Namespace, pod.Name, all[i].ContainerID)
	}
	if len(rest) > 0 {
		rest = rest[1:]
	}
	return Place{Node: pod.Spec.NodeName, Chain: strings.Join(append([]string{id}, rest...), "/")}, nil
}

// pod finds the pod that a target begins with, on a node, and returns the other steps.
func (c *Cluster) pod(ctx context.Context, target string) (*corev1.Pod, []string, error) {
	steps := strings.Split(target, "/")
	namespace := c.namespace
	if !c.given && len(steps) > 1 {
		namespace, steps = steps[0], steps[1:]
	}
	if slices.Contains(steps, "") || namespace == "" {
		return nil, nil, fmt.Errorf("target %q: want NAMESPACE/POD[/CONTAINER[/NESTED…]], or POD[/CONTAINER…] with --namespace", target)
	}
	name, rest := steps[0], steps[1:]
	pod := &corev1.Pod{}
	err := c.client.Get().Namespace(namespace).Resource("pods").Name(name).Do(ctx).Into(pod)
	switch {
	case apierrors.IsNotFound(err):
		hint := ""
		if !c.given && len(steps) == 1 && !strings.Contains(target, "/") {
			hint = ": name its namespace: NAMESPACE/POD"
		}
		return nil, nil, fmt.Errorf("pod %s/%s: %w%s; of one that is gone its node knows: --node NODE, and its container's name or id", namespace, name, ErrNotFound, hint)
	case apierrors.IsForbidden(err):
		return nil, nil, fmt.Errorf("look for pod %s/%s: %w: it takes get on pods: see manifests/components/oncall", namespace, name, err)
	case err != nil:
		return nil, nil, fmt.Errorf("look for pod %s/%s: %w", namespace, name, err)
	case pod.Spec.NodeName == "":
		return nil, nil, fmt.Errorf("pod %s/%s is on no node yet (%s): see kubectl -n %[1]s describe pod %[2]s", namespace, name, unscheduled(pod))
	}
	return pod, rest, nil
}

// containerOf is the container that a target names, or the only one, or the one that
// kubectl would take.
func containerOf(pod *corev1.Pod, rest []string) (string, error) {
	var names []string
	for _, k := range pod.Spec.Containers {
		names = append(names, k.Name)
	}
	all := slices.Clone(names)
	for _, k := range pod.Spec.InitContainers {
		all = append(all, k.Name)
	}
	for _, k := range pod.Spec.EphemeralContainers {
		all = append(all, k.Name)
	}
	switch named := pod.Annotations[defaultContainer]; {
	case len(rest) > 0 && slices.Contains(all, rest[0]):
		return rest[0], nil
	case len(rest) > 0:
		return "", fmt.Errorf("container %q of pod %s/%s: %w: it has %s", rest[0], pod.Namespace, pod.Name, ErrNotFound, strings.Join(all, ", "))
	case slices.Contains(names, named):
		return named, nil
	case len(names) == 1:
		return names[0], nil
	}
	return "", fmt.Errorf("pod %s/%s has several containers: say which: %[1]s/%[2]s/CONTAINER, one of %[3]s", pod.Namespace, pod.Name, strings.Join(all, ", "))
}

func unscheduled(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			return said(c.Reason, c.Message)
		}
	}
	return said(string(pod.Status.Phase), "")
}

// said joins what Kubernetes gives as a reason.
func said(reason, message string) string {
	switch {
	case reason == "" && message == "":
		return "no reason is given"
	case message == "":
		return reason
	}
	return strings.TrimPrefix(reason+": "+message, ": ")
}
