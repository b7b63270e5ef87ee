// Package kubelet knows which ranges of host ids kubelet gives to pods, and
// remembers them when kubelet no longer does: it removes a pod's record with
// the pod, and may give the range to another at once.
//
// What enters: pods/<UID>/userns below kubelet's root directory. What leaves:
// records (Read), and the pods that are and were (Watcher), by way of a Memory
// that survives the agent. It writes nothing there.
package kubelet
