package subid

import (
	"fmt"
	"math"
	"time"
)

// Options are what a Pool is made of. The zero value is the default plan.
type Options struct {
	// Range is where leases come from: whole blocks. The default lies above
	// what useradd gives out, beside what we advise for kubelet, and below
	// 2^31: 4096 blocks.
	Range Range
	// Quarantine is how long a freed block rests before it counts as unused
	// again: files and caches with its ids outlive their owner.
	Quarantine time.Duration
}

// Defaults is the default plan.
func Defaults() Options {
	return Options{Range: Range{Start: 1073741824, Count: 268435456}, Quarantine: 24 * time.Hour}
}

// Check says why no pool can be made of o.
func (o Options) Check() error {
	_, err := o.complete()
	return err
}

func (o Options) complete() (Options, error) {
	def := Defaults()
	if o.Range == (Range{}) {
		o.Range = def.Range
	}
	if o.Quarantine == 0 {
		o.Quarantine = def.Quarantine
	}
	if err := o.Range.Validate(); err != nil {
		return o, fmt.Errorf("pool: %w", err)
	}
	switch {
	case o.Range.Start%BlockSize != 0 || o.Range.Count%BlockSize != 0:
		return o, fmt.Errorf("pool %s: start and count must be multiples of %d", o.Range, BlockSize)
	case o.Range.End() == idSpace:
		return o, fmt.Errorf("pool %s: its last block holds id 4294967295, for which the kernel refuses the map: lower the count by %d", o.Range, BlockSize)
	case o.Range.Start == 0:
		return o, fmt.Errorf("pool %s: the first block holds the host's own ids: start at %d or above", o.Range, BlockSize)
	case o.Quarantine < 0:
		return o, fmt.Errorf("pool: quarantine %s is negative", o.Quarantine)
	}
	return o, nil
}

// Pool leases runs of blocks. Whoever owns it serialises access. It forgets
// nothing that Restore cannot tell it again.
type Pool struct {
	opts   Options
	first  uint32  // number of the first block
	blocks []block // the owner table: one row per block, one owner per row
	// keys orders the rows for pick, and is dense because pick reads all of it:
	// when a block was freed last, 0 if it was never used, never if it is not
	// free. settle keeps it true.
	keys   []int64
	leases map[string]*lease
	window []candidate // scratch of best
}

// block is a row of the owner table.
type block struct {
	owner   *lease // nil: none alive
	blocked string // why it stays taken though no lease has it; "": it does not
	freed   int64  // when it was freed last, ns; 0: never used
	freedBy string
}

// lease is a live one: leased or releasing.
type lease struct {
	id    string
	r     Range
	state State
	since time.Time
}

// New returns a pool with every block unused; Restore tells it what is not.
func New(o Options) (*Pool, error) {
	o, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("make %w", err)
	}
	n := o.Range.Count / BlockSize
	return &Pool{
		opts: o, first: o.Range.Start / BlockSize,
		blocks: make([]block, n), keys: make([]int64, n), leases: map[string]*lease{}, window: make([]candidate, 0, n),
	}, nil
}

// Grant is the result of Lease.
type Grant struct {
	Range Range
	// Held: the id had this lease already, nothing changed.
	Held bool
	// Early: the pool was dry, and the blocks that rested longest were taken
	// out of quarantine. Rested is how long the one that rested least did.
	Early  bool
	Rested time.Duration
	// Previous is who had that block last; "" if nobody.
	Previous string
}

// Lease gives id a run of blocks with at least size ids, none of which anybody
// in taken has; nil stands for nobody. It prefers blocks never used, then those
// freed longest ago, and when only blocks in quarantine are left, the oldest of
// them: a node that starts nothing helps nobody, and a proof has freed them.
// A run is as fresh as the block in it that was freed last.
//
// It may be repeated: an id that has a lease of that size gets it again. If
// there is none to give, the error is a *DryError.
func (p *Pool) Lease(id string, size uint32, now time.Time, taken *Taken) (Grant, error) {
	if err := checkID(id); err != nil {
		return Grant{}, fmt.Errorf("lease %d ids: %w", size, err)
	}
	if size == 0 {
		return Grant{}, fmt.Errorf("lease for %s: 0 ids: ask for 1 or more", id)
	}
	n := (uint64(size) + BlockSize - 1) / BlockSize
	if n > uint64(len(p.blocks)) {
		return Grant{}, fmt.Errorf("lease %d ids for %s: the whole pool %s has fewer: widen it, or lower the profile's size", size, id, p.opts.Range)
	}
	if l := p.leases[id]; l != nil {
		if l.state == Leased && uint64(l.r.Count) == n*BlockSize {
			return Grant{Range: l.r, Held: true}, nil
		}
		return Grant{}, &HeldError{Holder: l.record(), Size: size}
	}
	at, freed, ok := p.pick(int(n), taken)
	if !ok {
		return Grant{}, p.dry(id, uint32(n*BlockSize), now, taken)
	}
	l := &lease{id: id, r: p.run(at, int(n)), state: Leased, since: now}
	g := Grant{Range: l.r}
	for i := at; i < at+int(n); i++ {
		if b := &p.blocks[i]; freed > 0 && b.freed == freed {
			g.Previous = b.freedBy
		}
		p.blocks[i].owner = l
		p.settle(i)
	}
	if freed > 0 {
		g.Rested = time.Duration(stamp(now) - freed)
		g.Early = g.Rested < p.opts.Quarantine
	}
	p.leases[id] = l
	return g, nil
}

// never is a key above all times: the block cannot be leased.
const never = math.MaxInt64

// candidate is a block in best's window.
type candidate struct {
	at  int
	key int64
}

// pick finds the run of n blocks whose latest release is earliest; among equals
// the lowest.
func (p *Pool) pick(n int, taken *Taken) (at int, freed int64, ok bool) {
	at, freed = -1, never
	from := 0
	for _, s := range taken.within(p.first, len(p.blocks)) {
		at, freed = p.best(from, s.from, n, at, freed)
		from = s.to
	}
	at, freed = p.best(from, len(p.blocks), n, at, freed)
	return at, freed, at >= 0
}

// best improves on the run at row at, freed last at freed, with one between two
// rows. It reads each key once. A block that is no earlier than the best so far
// ends a run, so a run that gets to n blocks is better. Of its blocks, the
// window keeps those that are later than all after them: the first is the latest
// of the run, and after it the next run can start.
func (p *Pool) best(from, to, n, at int, freed int64) (int, int64) {
	start, window := from, p.window[:0]
	for i := from; i < to && freed > 0; i++ {
		key := p.keys[i]
		if key >= freed {
			start, window = i+1, p.window[:0]
			continue
		}
		for len(window) > 0 && window[len(window)-1].key <= key {
			window = window[:len(window)-1]
		}
		window = append(window, candidate{i, key})
		if i+1-start < n {
			continue
		}
		at, freed = i+1-n, window[0].key
		start, window = window[0].at+1, window[1:]
	}
	return at, freed
}

// settle derives a row's key after the row was changed.
func (p *Pool) settle(i int) {
	b := &p.blocks[i]
	p.keys[i] = b.freed
	if b.owner != nil || b.blocked != "" {
		p.keys[i] = never
	}
}

// run is the range of n blocks from row at on.
func (p *Pool) run(at, n int) Range {
	return Range{Start: (p.first + uint32(at)) * BlockSize, Count: uint32(n) * BlockSize}
}

// rows returns the rows that r touches, clipped to the pool.
func (p *Pool) rows(r Range) (from, to int) {
	lo, hi := max(uint64(r.Start), uint64(p.opts.Range.Start)), min(r.End(), p.opts.Range.End())
	if lo >= hi {
		return 0, 0
	}
	return int(lo/BlockSize - uint64(p.first)), int((hi-1)/BlockSize-uint64(p.first)) + 1
}

// stamp is t in ns, within what a row holds of a block that was used.
func stamp(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 1)):
		return 1
	case t.After(time.Unix(0, never-1)):
		return never - 1
	}
	return t.UnixNano()
}
