package answers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/logs"
)

// ErrNoLogs means that what containers write is not known: nobody follows it here.
var ErrNoLogs = errors.New("logs of containers are not known here")

// Logs keeps the latest lines; *logs.Collector is one.
type Logs interface {
	Lines(logs.Query) ([]identity.LogLine, uint64, <-chan struct{})
	// Blind says why nothing is told here, "" if something is.
	Blind() string
}

// LogQuery asks for lines; zero values ask for all.
type LogQuery struct {
	Chain  string // of this container, and of those inside it
	Stream identity.LogStream
	Since  time.Time
	Follow bool // go on with what comes, until ctx ends
}

// Lines hands the lines that are kept to yield, the oldest first.
func (a *Answers) Lines(ctx context.Context, q LogQuery, yield func(identity.LogAnswer) error) error {
	if a.Logs == nil {
		return fmt.Errorf("%w: it takes an agent with logs: nested, all, or patterns of chains", ErrNoLogs)
	}
	if why := a.Logs.Blind(); why != "" {
		return fmt.Errorf("%w: %s", ErrNoLogs, why)
	}
	ask := logs.Query{Stream: q.Stream, Since: q.Since}
	if q.Chain != "" {
		if err := a.Tracker.Sync(ctx); err != nil {
			return err
		}
		c, err := a.Select(q.Chain)
		if err != nil {
			return err
		}
		ask.Container = c.ID
	}
	for {
		lines, last, more := a.Logs.Lines(ask)
		for i := range lines {
			if err := yield(lines[i].Answer()); err != nil {
				return err
			}
		}
		if !q.Follow {
			return nil
		}
		ask.After = last
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}
