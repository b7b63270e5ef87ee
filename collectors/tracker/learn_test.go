package tracker

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// TestLearn: a name that somebody else has read is taken for a container that has none,
// also if it is gone; one that has a name keeps it.
func TestLearn(t *testing.T) {
	m := newMemory()
	table := identity.NewTable(identity.Options{})
	tr := New(Options{Source: newKernel(task(100, 1, 100), task(200, 1, 200)), Table: table, Memory: m, Log: zerolog.Nop()})
	if err := tr.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	var keys []identity.NSKey
	for _, c := range table.Containers() {
		keys = append(keys, c.PIDNS)
	}
	gone := table.ByPIDNS(keys[1])
	p := table.Process(200)
	table.Apply(&bpf.Exit{PID: 200, Start: p.Key.Start, Time: p.Last + 1})
	for _, k := range append(keys, identity.NSKey{Inum: 7}) {
		tr.Learn(k, identity.Name{Name: "first"})
		tr.Learn(k, identity.Name{Name: "second"})
	}
	check(t, "names", []string{"first", "first"}, []string{table.ByPIDNS(keys[0]).Name.Name, gone.Name.Name})
	check(t, "it is gone", true, gone.Gone())
	check(t, "told the memory, of the living and the gone", []int{2, 1}, []int{m.made[table.ByPIDNS(keys[0]).ID], m.gone[gone.ID]})
}
