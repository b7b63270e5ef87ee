// Package kube asks Kubernetes' API server about this node's pods, and tells it
// what becomes of them: Events on pods, and a condition of the node.
//
// What enters: a node's name, the API server's pods of that node, outcomes and
// verdicts of other rooms. What leaves: identity.Pod by uid and container id;
// Events; the condition; a file below the state directory with what was last
// known. It needs list and watch of pods, create and patch of events, and patch of
// nodes/status: see manifests/base/rbac.yaml.
//
// No call of another room waits for the API server. When that is away, what was
// last known is told, marked stale; Events wait in a bounded queue, and what does
// not fit is counted.
package kube
