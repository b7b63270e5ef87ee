// Package ledger remembers what the node has lent out: one JSON file per lease
// that a person can read with cat.
//
// What enters: leases, and changes of their state. What leaves: the same, after
// a restart too, and the ranges that must not be lent because a file about
// them is damaged. It touches one directory and opens nothing else.
//
// A lease is written before what it stands for is done (intent), and is
// forgotten only after proof that nobody uses it any more (tombstone, then
// removal). A change is on disk before the call returns; a call that failed
// changed nothing, in memory or on disk. What cannot be read is never taken for
// free: the file is set aside into "damaged" and its range stays taken until a
// person has looked at it.
package ledger
