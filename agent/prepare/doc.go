// Package prepare makes a container fit to run containers inside, and takes
// everything back when it has ended.
//
// What enters: a container (Target) and what it is to get (Profile). What
// leaves: a lease. In this order, each step on record before it is done: a range
// of ids or the ranges within the container's own map, a line in the ledger, the
// cgroup, the files /etc/subuid and /etc/subgid. Release goes the other way, and
// frees a range only on proof that nobody uses it.
//
// A cgroup has one lease, whichever of its processes was asked for. A range stays
// taken as long as its container runs, also when it is released by force, because
// the container was told of it.
//
// What it may touch: the ledger and the files below its directory, the
// container's cgroup, and two mounts in the container, where the host neither
// has nor shares them. It may be killed at any moment: what was begun is on
// record, and Reconcile takes it back.
package prepare
