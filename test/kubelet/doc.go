// Package kubelet proves eyas as it is deployed: the manifests applied to a real
// cluster (etcd, API server, controller manager and scheduler on this machine), its one
// node a virtual machine with kubelet and containerd that has the image of `make image`.
//
// What enters: the environment of `make test-kubelet`: EYAS_KUBE and EYAS_KUBELET are
// the programs of test/peers/build, EYAS_IMAGE the image. Without, the test is skipped:
// it wants a network namespace of its own, with the address of the node. What leaves:
// nothing, everything ends with the test.
package kubelet
