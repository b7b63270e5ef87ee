package subid

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// State is what a lease, or a block, is.
type State string

const (
	Leased    State = "leased"
	Releasing State = "releasing" // the owner is gone, the proof is missing
	Tombstone State = "tombstone" // released: who had the range last, and until when
)

// Record is a lease on record. Since is when its state began.
type Record struct {
	ID    string    `json:"id"`
	Range Range     `json:"range"`
	State State     `json:"state"`
	Since time.Time `json:"since"`
}

// Blocked is a range that stays taken though nobody can say by whom, such as
// that of a ledger file which cannot be read. Why names the file and the fix.
type Blocked struct {
	Range Range  `json:"range"`
	Why   string `json:"why"`
}

// Restore tells the pool what is on record, in any order. It takes all that it
// can, and what is doubtful it takes away from the pool: blocks that two leases
// claim are blocked until a person has settled it. The joined errors say what
// to settle; the pool works in spite of them.
//
// Leases outside of the pool, such as after its range was changed, stay leases
// until they are released.
func (p *Pool) Restore(records []Record, blocked []Blocked) error {
	var errs []error
	for _, b := range blocked {
		p.block(b.Range, b.Why)
	}
	for _, r := range records {
		if err := p.restore(r); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (p *Pool) restore(r Record) error {
	fail := func(err error) error {
		err = fmt.Errorf("restore lease %s of %s: %w", r.Range, quote(r.ID), err)
		p.block(r.Range, err.Error())
		return err
	}
	if err := r.Range.Validate(); err != nil {
		return fail(err)
	}
	if err := checkID(r.ID); err != nil {
		return fail(err)
	}
	from, to := p.rows(r.Range)
	switch r.State {
	case Tombstone:
		for i := from; i < to; i++ {
			if b := &p.blocks[i]; stamp(r.Since) > b.freed {
				b.freed, b.freedBy = stamp(r.Since), r.ID
				p.settle(i)
			}
		}
		return nil
	case Leased, Releasing:
	default:
		return fail(fmt.Errorf("unknown state %s", quote(string(r.State))))
	}
	if l := p.leases[r.ID]; l != nil {
		return fail(fmt.Errorf("the id has a lease %s as well: delete the record that is wrong", l.r))
	}
	l := &lease{id: r.ID, r: r.Range, state: r.State, since: r.Since}
	p.leases[r.ID] = l
	var clash *lease
	for i := from; i < to; i++ {
		b := &p.blocks[i]
		if b.owner == nil {
			b.owner = l
			p.settle(i)
			continue
		}
		clash = b.owner
		b.blocked = fmt.Sprintf("%s and %s both have it on record", b.owner.id, r.ID)
	}
	if clash != nil {
		return fmt.Errorf("restore lease %s of %s: overlaps %s of %s: stop one of them, release it, and start the agent again", r.Range, r.ID, clash.r, clash.id)
	}
	return nil
}

// block takes a range out of the pool for the life of the pool.
func (p *Pool) block(r Range, why string) {
	from, to := p.rows(r)
	for i := from; i < to; i++ {
		if p.blocks[i].blocked == "" {
			p.blocks[i].blocked = cmp.Or(why, "its record cannot be read")
			p.settle(i)
		}
	}
}
