package prepare

import (
	"context"
	"sync"
	"time"
)

// primeFor is how long after the last Reserve a HandOver is expected. The runtime
// makes the container meanwhile, which takes a tenth of that on an idle machine.
const primeFor = time.Second

// primer has the kernel ready to move processes while containers are made. Its
// errors cost speed, nothing else.
type primer struct {
	run  func(context.Context) error // until its context ends
	fail func(error)                 // hears, once, that it cannot

	mu       sync.Mutex
	expected map[string]bool // ids of leases
	stop     context.CancelFunc
	timer    *time.Timer
	useless  bool
	done     sync.WaitGroup
}

func newPrimer(run func(context.Context) error, fail func(error)) *primer {
	return &primer{run: run, fail: fail, expected: map[string]bool{}}
}

// begin expects a container.
func (p *primer) begin(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.useless {
		return
	}
	p.expected[id] = true
	if p.stop != nil {
		p.timer.Reset(primeFor)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.timer = stop, time.AfterFunc(primeFor, p.halt)
	p.done.Go(func() {
		if err := p.run(ctx); err != nil {
			p.mu.Lock()
			p.useless = true
			p.mu.Unlock()
			p.fail(err)
		}
	})
}

// finish expects it no longer.
func (p *primer) finish(id string) {
	p.mu.Lock()
	delete(p.expected, id)
	none := len(p.expected) == 0
	p.mu.Unlock()
	if none {
		p.halt()
	}
}

// halt expects nothing any more.
func (p *primer) halt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.expected)
	if p.stop != nil {
		p.timer.Stop()
		p.stop()
		p.stop = nil
	}
}

// close waits for the end.
func (p *primer) close() {
	p.halt()
	p.done.Wait()
}
