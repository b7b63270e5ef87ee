package logs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestSeries: what nested containers without series of their own wrote is one sum, to
// which nothing is lost when they end; and the linter of Prometheus has no complaint.
func TestSeries(t *testing.T) {
	n := newNode()
	n.put(10, 100)
	for i := range uint32(3) {
		n.put(11+i, 100, 101+i)
	}
	c := n.collector(t, "all")
	c.totals = newTotals(1)
	if got := testutil.CollectAndCount(c); got != 0 {
		t.Errorf("%d series before there is a source", got)
	}
	if err := c.attach(); err != nil {
		t.Fatal(err)
	}
	rows := map[bpf.LogBox][]bpf.LogStream{}
	wrote := func(ns uint32, bytes, dropped uint64) {
		b := boxAt(ns)
		if c.boxes[b] == nil {
			c.boxes[b] = &box{streams: map[uint32]*stream{1: {}}}
		}
		rows[b] = []bpf.LogStream{{FD: 1, Bytes: bytes, Dropped: bpf.LogDrops{Records: dropped / 10, Bytes: dropped}}}
		n.View(func(t *identity.Table, _ map[string]int) { c.countLine(t, b) })
		c.count(rows)
	}
	wrote(100, 1, 0)
	wrote(101, 20, 0)
	wrote(102, 300, 10)
	wrote(103, 4000, 20)
	n.die(13)
	wrote(103, 4001, 20) // the last that is heard of it
	wrote(102, 301, 10)
	id := n.table.ByPIDNS(keyOf(boxAt(100))).ID
	own := n.table.ByPIDNS(keyOf(boxAt(101))).ID
	row := func(name, nested string, level, v int) string {
		return fmt.Sprintf("eyas_log_%s{container=%q,level=\"%d\",namespace=\"\",nested=%q,pod=\"\"} %d\n", name, id, level, nested, v)
	}
	want := "# HELP eyas_log_bytes_total Bytes that containers wrote to their standard streams and eyas took over.\n# TYPE eyas_log_bytes_total counter\n" +
		row("bytes_total", "", 1, 1) + row("bytes_total", own, 2, 20) + row("bytes_total", "_other", 2, 4302) +
		"# HELP eyas_log_dropped_bytes_total Bytes of what was not taken over.\n# TYPE eyas_log_dropped_bytes_total counter\n" +
		row("dropped_bytes_total", "", 1, 0) + row("dropped_bytes_total", own, 2, 0) + row("dropped_bytes_total", "_other", 2, 30) +
		"# HELP eyas_log_source 1 for where lines come from: kernel, or the files of runtimes in sandboxes (file).\n# TYPE eyas_log_source gauge\neyas_log_source{source=\"kernel\"} 1\n"
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "eyas_log_bytes_total", "eyas_log_dropped_bytes_total", "eyas_log_source"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	n.die(11)
	n.die(12)
	n.die(10)
	c.count(rows)
	if got := testutil.CollectAndCount(c, "eyas_log_bytes_total"); got != 0 || len(c.totals.sums) != 0 || c.totals.nested.Len() != 0 {
		t.Errorf("%d series, %d sums of nobody", got, len(c.totals.sums))
	}
}
