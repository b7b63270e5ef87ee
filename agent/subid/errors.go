package subid

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrUnknown: the id has no lease.
var ErrUnknown = errors.New("no such lease")

// HeldError: the id has a lease already, but not one that Lease may repeat.
type HeldError struct {
	Holder Record
	Size   uint32 // asked for
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("lease %d ids for %s: it has %s (%s since %s): release that first",
		e.Size, e.Holder.ID, e.Holder.Range, e.Holder.State, e.Holder.Since.UTC().Format(time.RFC3339))
}

// NotReleasedError: a lease stays, because it is not proved that nobody uses
// it. Why is set when the answer was Released but is none for this lease.
type NotReleasedError struct {
	Holder Record
	Proof  Proof
	Why    string
}

func (e *NotReleasedError) Error() string {
	why := e.Why
	if why == "" {
		why = e.Proof.Liveness.String()
		if reasons := e.Proof.reasons(); reasons != "" {
			why += ": " + reasons
		}
	}
	return fmt.Sprintf("release %s of %s: not proved to be free: %s", e.Holder.Range, e.Holder.ID, why)
}

// Holder is somebody who has blocks of the pool.
type Holder struct {
	Who   string // a lease's id, or the source of a claim, or why it is blocked
	State string // leased, releasing, blocked, taken
	Range Range
	Since time.Time // of leases
}

// DryError: no run of blocks is left. It counts blocks by who has them, and
// names the first: leases that are oldest, what is blocked, and what others
// have.
type DryError struct {
	ID      string
	Size    uint32 // rounded up to blocks
	Pool    Range
	Counts  Counts
	Holders []Holder
}

func (e *DryError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lease %d ids for %s: no run of %d blocks is left in pool %s: of its blocks %d are leased, %d releasing, %d blocked, %d taken by others, %d free but scattered",
		e.Size, e.ID, e.Size/BlockSize, e.Pool, e.Counts.Leased, e.Counts.Releasing, e.Counts.Blocked, e.Counts.Taken, e.Counts.Unused+e.Counts.Rested+e.Counts.Quarantined)
	sep := ": "
	for _, h := range e.Holders {
		b.WriteString(sep)
		sep = "; "
		fmt.Fprintf(&b, "%s %s %s", h.Range, h.State, h.Who)
		if !h.Since.IsZero() {
			fmt.Fprintf(&b, " since %s", h.Since.UTC().Format(time.RFC3339))
		}
	}
	b.WriteString(": release leases, or widen the pool")
	return b.String()
}

// maxID bounds the id of a lease, which becomes the name of a file.
const maxID = 200

// checkID refuses what cannot stand in a file name, a log line and an error as
// it is.
func checkID(id string) error {
	if id == "" || len(id) > maxID || id[0] == '.' || id[0] == '-' {
		return fmt.Errorf("id %s: want 1 to %d characters, the first neither dot nor dash", quote(id), maxID)
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._-:@", c) >= 0:
		default:
			return fmt.Errorf("id %s: want letters, digits and ._-:@ only", quote(id))
		}
	}
	return nil
}
