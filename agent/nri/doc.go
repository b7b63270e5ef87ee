// Package nri hears from the container runtime when sandboxes come and go, and
// has them prepared before their first process runs.
//
// What enters: NRI's requests (containerd 1.7 or CRI-O 1.26 and later). What
// leaves: adjustments of containers that are created, and calls of a Preparer. It
// touches nothing itself but the runtime's socket; everything a pod says is
// hostile text: bounded, escaped, never a path.
//
// The runtime waits for every answer and drops a plugin that is late, so each
// handler answers within three quarters of the time it has, also when its work is
// not done. What a sandbox misses is counted as unprepared; its container starts
// all the same, unless its profile is Required.
package nri
