package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/eyas-agent/eyas/agent/kube/remote"
	"github.com/eyas-agent/eyas/collectors/answers"
)

const (
	nodesAtOnce = 8
	maxAnswer   = 1 << 20 // bytes of one node
)

// answer is what one node had to say.
type answer struct {
	Node   string          `json:"node"`
	Answer json.RawMessage `json:"answer"`

	out, errs capped
	err       error
	id        idAnswer
}

// known reports whether somebody has, or had, an id.
func (a idAnswer) known() bool { return len(a.Owners)+len(a.Pods)+len(a.Held)+a.MorePods > 0 }

// capped keeps the beginning of what is written to it.
type capped struct {
	bytes.Buffer
	cut bool
}

func (c *capped) Write(b []byte) (int, error) {
	keep := min(len(b), maxAnswer-c.Len())
	c.cut = c.cut || keep < len(b)
	c.Buffer.Write(b[:keep])
	return len(b), nil
}

// everywhere asks the agents of all nodes, and shows what those say who know. It fails
// if one could not be asked, as that one may have known.
func (j *job) everywhere(ctx context.Context, argv []string, asJSON bool) error {
	agents, troubles, err := j.cluster.Agents(ctx)
	if err != nil {
		return err
	}
	// An agent that knows nothing of an id says so, and that is no news from each of
	// them: what is shown is chosen, and written, here.
	argv = slices.Insert(slices.DeleteFunc(argv, func(a string) bool { return strings.HasPrefix(a, "--output=") }), 1, "--output=json")
	all := make([]answer, len(agents))
	var g errgroup.Group
	g.SetLimit(nodesAtOnce)
	for i, a := range agents {
		all[i].Node = a.Node
		g.Go(func() error {
			all[i].err = j.cluster.Run(ctx, a, argv, remote.Streams{Out: &all[i].out, Err: &all[i].errs})
			return nil
		})
	}
	_ = g.Wait() // each keeps its own error
	found := []answer{}
	for i := range all {
		a := &all[i]
		var exit remote.ExitError
		switch {
		case errors.As(a.err, &exit) && exit.Code == exitNotFound:
		case errors.As(a.err, &exit):
			troubles = append(troubles, fmt.Sprintf("node %s: %s", a.Node, clip(a.errs.String(), 512)))
		case a.err != nil:
			troubles = append(troubles, fmt.Sprintf("node %s: %v", a.Node, a.err))
		case a.out.cut:
			troubles = append(troubles, fmt.Sprintf("node %s: its answer has more than %d bytes: ask it with --node", a.Node, maxAnswer))
		default:
			a.Answer = a.out.Bytes()
			if err := json.Unmarshal(a.Answer, &a.id); err != nil {
				troubles = append(troubles, fmt.Sprintf("node %s: read its answer: %v", a.Node, err))
			} else if a.id.known() {
				found = append(found, *a)
			}
		}
	}
	if asJSON {
		err = writeJSON(j.env.Stdout, found)
	} else {
		for i := range found {
			if i > 0 {
				fmt.Fprintln(j.env.Stdout)
			}
			fmt.Fprintf(j.env.Stdout, "node %s\n", Escape(found[i].Node))
			printID(j.env.Stdout, found[i].id)
		}
	}
	for _, t := range troubles {
		fmt.Fprintf(j.env.Stderr, "eyas: %s\n", Escape(t))
	}
	switch {
	case err != nil:
		return err
	case len(troubles) > 0:
		return fmt.Errorf("%s could not be asked", plural(len(troubles), "node", "nodes"))
	case len(found) == 0:
		return fmt.Errorf("%w: none of %s knows it", answers.ErrNotFound, plural(len(agents), "node", "nodes"))
	}
	return nil
}
