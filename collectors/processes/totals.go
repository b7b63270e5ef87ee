package processes

import (
	"context"
	"fmt"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Total is what the series of one container are made of. Processes, threads and
// zombies are those right in it; counts began with the agent, or the container.
type Total struct {
	Container                   identity.ContainerRecord
	Processes, Threads, Zombies int
	Counts                      bpf.Counts
}

// Totals returns the numbers of each live container that want takes, parents
// before children, also of those without series of their own. The table is at
// most as old as for a scrape, and ctx bounds the wait for it. An error means
// that the table or the kernel's counts could not be read. Times in the records
// are of clock. Safe for concurrent use; want is called with the table's lock held.
func (c *Collector) Totals(ctx context.Context, clock identity.Clock, want func(*identity.Container) bool) ([]Total, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(ctx); err != nil {
		return nil, fmt.Errorf("refresh: %w", err)
	}
	rows, err := c.o.Counter.Counts()
	if err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	out := []Total{}
	c.o.Table.View(func(t *identity.Table, zombies map[string]int) {
		counts, threads := c.attribute(t, rows), threadsOf(t)
		c.retire(t, counts) // their rows may be taken before the next scrape
		for _, x := range t.Containers() {
			if !want(x) {
				continue
			}
			out = append(out, Total{
				Container: x.Record(clock), Processes: x.Live, Threads: threads[x.ID], Zombies: zombies[x.ID], Counts: counts[x.ID],
			})
		}
	})
	return out, nil
}

// threadsOf counts the threads right in each container, by its id.
func threadsOf(t *identity.Table) map[string]int {
	threads := map[string]int{}
	for _, p := range t.Processes() {
		threads[p.Container.ID] += int(p.Threads)
	}
	return threads
}
