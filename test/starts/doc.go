// Package starts proves that containers start prepared, with a real containerd,
// a real runc and the real agent, on the kernel that the tests run on. Its tests
// need root and the build tag host, and test/peers/build for containerd.
//
// Everything lives in a mount namespace of its own (see node): nothing is mounted
// on the machine, and only cgroups of the tests' own are made.
package starts
