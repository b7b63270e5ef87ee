// Package sandbox proves that eyas makes sandboxes work: a pod of a real
// containerd, asked for over CRI as kubelet does, in which a user without
// privileges runs podman, buildah and buildkit.
//
// What enters: the environment. EYAS_BIN is the agent; without EYAS_VM=1 the
// tests are skipped, because they want a node of their own with the images of
// test/vm/build-store. What leaves: pods that are gone again.
package sandbox
