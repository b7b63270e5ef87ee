// Package advise says which way of running containers in containers suits a node
// and its cluster, why, and what to do and to leave there.
//
// What enters: results of doctor's checks of the node, and what a cluster told of
// itself, if it did. What leaves: a Report. It looks at nothing itself: what it
// says of this node is what doctor found.
//
// Modes and claims are one table each (modes.go, claims.go). The decision guide
// (docs/decision-guide.md) has an anchor for each of them, on a line with the same
// source; a test compares both ways.
package advise
