package logs

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestUnnoted: a container whose first process never begins a program is looked for once,
// if it is to be told of and its runtime has had the time.
func TestUnnoted(t *testing.T) {
	n := newNode()
	n.put(10, 100)
	n.put(11, 100, 101) // inside it
	n.put(12, 100, 102) // noted
	c := n.collector(t, "nested")
	boot := time.Unix(1700000000, 0)
	c.o.Clock = identity.Clock{Boot: boot}
	noted := map[bpf.LogBox][]bpf.LogStream{boxAt(102): nil}
	var got []bool
	for _, via := range []identity.LogWay{identity.LogFile, identity.LogKernel} {
		c.via = via
		for _, after := range []time.Duration{execsWithin / 2, 2 * execsWithin, 3 * execsWithin} {
			got = append(got, c.unnoted(n.table, noted, boot.Add(after)))
		}
	}
	if d := cmp.Diff([]bool{false, false, false, false, true, false}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[bpf.LogBox]bool{boxAt(101): true}, c.looked); d != "" {
		t.Error(d)
	}
	n.die(11)
	if c.unnoted(n.table, noted, boot.Add(4*execsWithin)) || len(c.looked) != 0 {
		t.Errorf("kept of the gone: %v", c.looked)
	}
}

// TestMissing: what a skipped run has left uncounted is dropped when its container ends.
func TestMissing(t *testing.T) {
	rows := []bpf.LogStream{{Bytes: 10, Dropped: bpf.LogDrops{Records: 1, Bytes: 5}, Missing: 7}, {Bytes: 3}}
	for range 2 {
		missing(rows)
	}
	if d := cmp.Diff([]bpf.LogStream{{Bytes: 10, Dropped: bpf.LogDrops{Records: 2, Bytes: 12}}, {Bytes: 3}}, rows); d != "" {
		t.Error(d)
	}
}
