// Package kube proves agent/kube against a real API server with etcd, which
// test/peers/build and test/deps bring. Its tests need the build tag host, because
// of that build, and no privilege.
package kube
