// Package remote runs eyas where a pod is: in the agent's pod of that pod's node, by
// an exec through the API server, as `kubectl exec` does.
//
// What enters: a kubeconfig and the flags of kubectl, NAMESPACE/POD/CONTAINER/… as
// people name things, arguments of eyas. What leaves: what eyas said there, and its
// exit status. It reads pods, and executes /eyas in pods that have the agent's label
// and container, in the agent's namespace, and nothing else anywhere.
//
// kubectl's own package of flags, k8s.io/cli-runtime, is done without: it brings
// printers, builders and kustomize along. clientcmd has the flags of a connection.
package remote
