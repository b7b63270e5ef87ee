// Package subid hands out ranges of subordinate uids and gids.
//
// What enters: a configured range, the leases on record, what others hold
// (Taken), and proofs that nobody uses a range (Proof). What leaves: leases of
// whole 64K blocks, lines for the /etc/subuid and /etc/subgid of a pod, and
// findings about a plan. What it may touch: nothing. It opens no file, starts
// no goroutine and asks no clock; package sources reads the machine for it.
//
// Words: a block is 65536 ids that start at a multiple of 65536, so that the
// owner of an id is its upper 16 bits. A lease is a run of blocks. A range is
// one of uids and of gids alike.
//
// Two rules hold whatever the caller does. No block has two owners, because
// owners stand in a table with one row per block. And no block becomes free
// but by a proof whose answer is Released; an error, a doubt or a missing
// feature leaves it taken.
package subid
