// Package delegation hands a container's cgroup over to the user that runs
// nested containers in it, takes it back, and tells whether it still is as it
// was handed over.
//
// What enters: a cgroup's path below the cgroup2 mount, its id, and a host uid
// and gid. What leaves: the names of the steps that changed something, and
// differences. It touches that one cgroup, one leaf below it, and on the way back what
// the user left below; never an ancestor or a sibling.
//
// The order of the steps is the kernel's: bound what the user may make; make a leaf;
// move the processes there, because a cgroup with processes cannot enable controllers
// for its children; enable the controllers; then give away the directory and exactly
// the files that /sys/kernel/cgroup/delegate names.
//
// A cgroup is opened once, by openat2 beneath the mount, without links and
// without crossing mounts, and must have the expected id. All else is relative to
// that descriptor: a directory that is replaced later is not touched.
//
// Kernel facts are from Documentation/admin-guide/cgroup-v2.rst and
// kernel/cgroup/cgroup.c.
package delegation
