//go:build host && pictures

package dashboards

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// span is how long is recorded: the workload goes on for longer.
const span = 3*time.Minute + 30*time.Second

// TestRecord leaves what Prometheus has scraped within span in the directory that
// EYAS_RECORD names, to draw the dashboards of.
func TestRecord(t *testing.T) {
	if os.Getenv("EYAS_RECORD") == "" {
		t.Fatal("EYAS_RECORD names no directory")
	}
	agent, listen := newAgent(t)
	newWorkload(t)
	p := newPrometheus(t, listen)
	enough := fmt.Sprintf(`count_over_time(up{job="eyas"}[1h]) >= %d`, int(span.Seconds()))
	until(t, span+time.Minute, agent.done, func() error {
		n, err := p.ask(enough)
		if err == nil && n == 0 {
			err = fmt.Errorf("not yet: %s", enough)
		}
		return err
	})
	p.kill() // before the workload: its end is not part of the picture
}
