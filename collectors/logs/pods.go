package logs

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity"
)

// Annotation of a pod says whether its logs are told, with those of all that is inside:
// "true", "false", or one of the streams, stdout or stderr.
const Annotation = "eyas.dev/logs"

// Pod is a container of a pod, as its runtime tells of it.
type Pod struct {
	Namespace, Name, UID   string
	Container, ContainerID string
	PID                    identity.HostPID // its first process; 0: not known
	Logs                   bpf.LogSelection // what its annotation says; 0: nothing

	box  bpf.LogBox // once it was found by its pid, which may be another's later
	gone bool       // removed; kept for lines that are still to be told
}

// maxPods bounds the containers of pods that are remembered.
const maxPods = 4096

// ParseAnnotation reads the annotation's value.
func ParseAnnotation(s string) (bpf.LogSelection, error) {
	const all = bpf.LogSelf | bpf.LogInside
	switch s {
	case "true":
		return all, nil
	case "false":
		return bpf.LogNone, nil
	case string(identity.Stdout):
		return all | bpf.LogNoStderr, nil
	case string(identity.Stderr):
		return all | bpf.LogNoStdout, nil
	}
	return 0, errors.New("want true, false, stdout or stderr")
}

// SetPod says of which pod a container is. If it asks for its logs and runs, they are
// told when SetPod returns: before its program begins, if the runtime waits for that.
func (c *Collector) SetPod(ctx context.Context, p Pod) error {
	c.mu.Lock()
	old, known := c.pods[p.ContainerID]
	if p.box = old.box; !known && len(c.pods) >= maxPods/2 {
		maps.DeleteFunc(c.pods, func(_ string, p Pod) bool { return p.gone })
	}
	if !known && len(c.pods) >= maxPods {
		c.mu.Unlock()
		return fmt.Errorf("more than %d containers of pods", maxPods)
	}
	c.pods[p.ContainerID] = p
	c.mu.Unlock()
	if p.Logs == 0 && len(c.o.Select.rules) == 0 {
		return nil
	}
	if p.Logs&bpf.LogSelf != 0 {
		c.asked.Do(func() { close(c.ask) })
	}
	select {
	case <-c.attached: // else it is seen to then
	default:
		return nil
	}
	if p.PID == 0 || c.Blind() != "" {
		return nil
	}
	if err := c.o.Table.Sync(ctx); err != nil {
		return err
	}
	return c.apply()
}

// DropPod forgets a container of a pod.
func (c *Collector) DropPod(containerID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.pods[containerID]; ok {
		p.PID, p.gone = 0, true
		c.pods[containerID] = p
	}
}

// KeepPods forgets the containers of pods that are not among those that there are.
func (c *Collector) KeepPods(containerIDs map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, p := range c.pods {
		if !containerIDs[id] {
			p.PID, p.gone = 0, true
			c.pods[id] = p
		}
	}
}

// PodOf returns the pod that a runtime's container is of.
func (c *Collector) PodOf(containerID string) (Pod, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pods[containerID]
	return p, ok
}

// namePod names a line's pod as the runtime does, unless Kubernetes has.
func (c *Collector) namePod(l *identity.LogLine) {
	for i := range l.Chain {
		k := &l.Chain[i]
		if k.Kind == "node" {
			continue
		}
		if p, ok := c.PodOf(k.ContainerID); ok && k.Pod == nil {
			k.Pod = &identity.Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Container: p.Container}
		}
		return
	}
}

// bind finds which containers the pods' are, once. The kernel's pid says it before any
// name is known.
func (c *Collector) bind(t *identity.Table) map[bpf.LogBox]Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	byPID := map[identity.HostPID]string{}
	for id, p := range c.pods {
		if p.PID != 0 && p.box == (bpf.LogBox{}) {
			byPID[p.PID] = id
		}
	}
	found := map[bpf.LogBox]Pod{}
	for _, x := range t.Containers() {
		if x.Parent != nil || !x.OwnPIDNS() {
			continue
		}
		id, ok := byPID[x.Init.PID]
		if !ok {
			id = x.Name.ID
		}
		if p, ok := c.pods[id]; ok && p.box == (bpf.LogBox{}) {
			p.box = boxOf(x.PIDNS)
			c.pods[id] = p
		}
	}
	for _, p := range c.pods {
		if p.box != (bpf.LogBox{}) {
			found[p.box] = p
		}
	}
	return found
}

// wants says what is wanted of all containers of which anything is, and which others
// are inside those whose pods ask for something.
func (c *Collector) wants() (want map[bpf.LogBox]bpf.LogSelection, inside map[bpf.LogBox][]bpf.LogBox) {
	want, inside = map[bpf.LogBox]bpf.LogSelection{}, map[bpf.LogBox][]bpf.LogBox{}
	c.mu.Lock()
	none := len(c.pods) == 0 && len(c.o.Select.rules) == 0
	c.mu.Unlock()
	if none {
		return want, inside
	}
	c.o.Table.View(func(t *identity.Table, _ map[string]int) {
		pods := c.bind(t)
		for _, x := range t.Containers() {
			if !x.OwnPIDNS() {
				continue
			}
			p := pods[boxOf(x.Outer().PIDNS)]
			l := c.o.Select.of(x, p)
			switch {
			case p.Logs == 0:
			case x.Parent == nil: // what a pod asks for itself comes first
				l = p.Logs
			default:
				l = 0 // and is said of the outermost one
				outer := boxOf(x.Outer().PIDNS)
				inside[outer] = append(inside[outer], boxOf(x.PIDNS))
			}
			if l != 0 {
				want[boxOf(x.PIDNS)] = l
			}
		}
	})
	return want, inside
}

// unwatcher is a source that goes on with streams that it has noted.
type unwatcher interface {
	Unwatch(bpf.LogBox, bpf.LogSelection) error
}

// apply has the source tell of those that are chosen.
func (c *Collector) apply() error {
	c.choose.Lock() // before it is asked who is: an older answer must not undo a newer one
	defer c.choose.Unlock()
	want, inside := c.wants()
	news := false
	for b, l := range want {
		if c.chosen[b] == l {
			continue
		}
		if err := c.src.Select(b, l); err != nil {
			return err
		}
		c.chosen[b], news = l, true
		if u, ok := c.src.(unwatcher); ok && l&(bpf.LogNone|bpf.LogNoStdout|bpf.LogNoStderr) != 0 {
			for _, x := range append(inside[b], b) {
				if err := u.Unwatch(x, l); err != nil {
					return err
				}
			}
		}
	}
	for b := range c.chosen {
		if want[b] == 0 { // gone, or named otherwise by now
			if err := c.src.Select(b, 0); err != nil {
				return err
			}
			delete(c.chosen, b)
		}
	}
	if news {
		return c.src.Adopt()
	}
	return nil
}

func boxOf(k identity.NSKey) bpf.LogBox { return bpf.LogBox{PIDNS: k.Inum, Start: k.Gen} }
func keyOf(b bpf.LogBox) identity.NSKey { return identity.NSKey{Inum: b.PIDNS, Gen: b.Start} }
