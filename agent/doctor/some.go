package doctor

import (
	"context"
	"slices"
)

// NodeChecks returns the ids of all checks of a node, ContainerChecks those of
// a container.
func NodeChecks() []string      { return ids(nodeChecks()) }
func ContainerChecks() []string { return ids(containerChecks()) }

// CheckSome runs the checks with these ids.
func (n *Node) CheckSome(ctx context.Context, ids []string) []Result {
	return runAll(ctx, n, some(nodeChecks(), ids), checkLimit, &n.hung)
}

// CheckSome runs the checks with these ids.
func (c *Container) CheckSome(ctx context.Context, ids []string) []Result {
	return runAll(ctx, c, some(containerChecks(), ids), checkLimit, &c.hung)
}

func ids[T any](all []check[T]) (out []string) {
	for _, c := range all {
		out = append(out, c.id)
	}
	return out
}

func some[T any](all []check[T], ids []string) []check[T] {
	return slices.DeleteFunc(all, func(c check[T]) bool { return !slices.Contains(ids, c.id) })
}
