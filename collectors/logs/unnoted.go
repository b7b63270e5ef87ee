package logs

import (
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/logs/files"
)

// execsWithin is how long a runtime may take until the first process of a container
// begins its program. One that has not by then is taken as it is.
const execsWithin = 5 * time.Second

// unnoted reports whether there is a container that is to be told of and whose streams
// the kernel has not noted, because its first process never begins a program. Each is
// looked for once.
func (c *Collector) unnoted(t *identity.Table, noted map[bpf.LogBox][]bpf.LogStream, now time.Time) (news bool) {
	if c.via != identity.LogKernel {
		return false
	}
	lives := map[bpf.LogBox]bool{}
	for _, x := range t.Containers() {
		if !x.OwnPIDNS() || now.Sub(c.o.Clock.At(x.First)) < execsWithin {
			continue
		}
		b := boxOf(x.PIDNS)
		lives[b] = true
		if _, known := noted[b]; known || c.looked[b] || files.Selected(x, c.o.Select.kernel, c.chosen) == 0 {
			continue
		}
		c.looked[b], news = true, true
	}
	for b := range c.looked {
		if !lives[b] {
			delete(c.looked, b)
		}
	}
	return news
}
