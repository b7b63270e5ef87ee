package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eyas-agent/eyas/agent/doctor"
	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

// openContainer finds the container that a person means, and pins its first
// process.
func openContainer(ctx context.Context, q api.Querier, node *doctor.Node, expr string) (*doctor.Container, error) {
	found, pid, err := findContainer(ctx, q, expr)
	if err != nil {
		return nil, err
	}
	c, err := doctor.OpenContainer(node, doctor.ContainerOptions{PID: int(pid), Cgroup: found.Cgroup, Escaped: found.Escaped})
	if err != nil {
		return nil, err
	}
	// Only now, with the process pinned: was it the one meant?
	if _, err = confirm(ctx, q, found, pid); err == nil {
		err = c.Alive()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// findContainer finds the container that a person means, and a process that
// lives right in it: the first if possible, else the oldest.
func findContainer(ctx context.Context, q api.Querier, expr string) (treeNode, identity.HostPID, error) {
	nodes, err := q.Tree(ctx)
	if err != nil {
		return treeNode{}, 0, err
	}
	found, err := selectNode(expr, nodes)
	if err != nil {
		return treeNode{}, 0, err
	}
	pid := found.InitPID
	// The first process of a container without a pid namespace may have left it.
	if id, err := q.PID(ctx, pid); pid == 0 || err != nil || !livesIn(id, found.ID) {
		pid = 0
		var oldest time.Time
		err := q.PS(ctx, found.ID, func(id identity.Identity) error {
			if livesIn(id, found.ID) && (pid == 0 || id.Host.StartTime.Before(oldest)) {
				pid, oldest = id.Host.PID, id.Host.StartTime
			}
			return nil
		})
		if err != nil {
			return treeNode{}, 0, err
		}
		if pid == 0 {
			return treeNode{}, 0, fmt.Errorf("container %s: %w: no process lives right in it", found.ID, answers.ErrNotFound)
		}
	}
	return found, pid, nil
}

// confirm fails when a process that was looked at is no longer of the container.
func confirm(ctx context.Context, q api.Querier, c treeNode, pid identity.HostPID) (identity.Identity, error) {
	id, err := q.PID(ctx, pid)
	if err == nil && !livesIn(id, c.ID) {
		err = fmt.Errorf("container %s: its process %d has ended: try again", c.ID, pid)
	}
	return id, err
}

// livesIn reports whether a container is the innermost of a process's chain.
func livesIn(id identity.Identity, container string) bool {
	return id.Exit == nil && len(id.Chain) > 0 && id.Chain[len(id.Chain)-1].ID == container
}

// selectNode selects as the agent does.
func selectNode(expr string, nodes []treeNode) (treeNode, error) {
	var all []identity.ContainerRecord
	byID := map[string]treeNode{}
	var walk func(nodes []treeNode, parent string)
	walk = func(nodes []treeNode, parent string) {
		for _, n := range nodes {
			byID[n.ID] = n
			all = append(all, identity.ContainerRecord{
				ID: n.ID, Parent: parent, Display: n.Name, Name: identity.Name{ID: n.ContainerID}, Pod: n.Pod,
			})
			walk(n.Children, n.ID)
		}
	}
	walk(nodes, "")
	c, err := identity.Select(expr, all)
	return byID[c.ID], err
}
