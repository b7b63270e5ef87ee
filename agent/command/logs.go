package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eyas-agent/eyas/collectors/answers"
	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/exporter/api"
)

func newLogs(env Env) *cobra.Command {
	k := &client{env: env}
	q := answers.LogQuery{}
	since, stream := "", ""
	c := &cobra.Command{
		Use: "logs [CHAIN]", Short: "Print what containers wrote to stdout and stderr",
		Long: "Print the latest lines that a container, and those inside it, wrote to stdout and\n" +
			"stderr, by time, also of containers that are gone. It takes an agent that tells of\n" +
			"logs (its key logs). What is not printable is escaped; a line that goes on, or has no end\n" +
			"yet, ends with a backslash. With -o json: one object per line.",
		Example: "  eyas logs web/db --since 10m\n  eyas logs web --stream stderr -f",
		Args:    args(cobra.MaximumNArgs(1)), ValidArgsFunction: k.complete,
		RunE: func(c *cobra.Command, a []string) error {
			q.Chain, q.Stream = strings.Join(a, ""), identity.LogStream(stream)
			switch q.Stream {
			case "", identity.Stdout, identity.Stderr:
			default:
				return usageError{fmt.Errorf("--stream: want stdout or stderr, got %q", clip(stream, 64))}
			}
			if since != "" {
				from, err := parseTime("--since", since)
				if err != nil {
					return err
				}
				q.Since = from
			}
			return k.ask(c.Context(), func(ctx context.Context, from api.Querier) error {
				err := from.Lines(ctx, q, k.printLine)
				if ctx.Err() != nil && errors.Is(err, context.Canceled) {
					return nil
				}
				return err
			})
		},
	}
	k.flags(c)
	c.Flags().StringVar(&since, "since", "", "how far back: RFC 3339, or a duration ago such as 3h; all that is kept by default")
	c.Flags().StringVar(&stream, "stream", "", "stdout or stderr; both by default")
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on, and print what is written from now on")
	return c
}

func (k *client) printLine(l identity.LogAnswer) error {
	if k.output == "json" {
		return writeJSONLine(k.env.Stdout, l)
	}
	w := k.env.Stdout
	at := l.Time
	if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
		at = t.Format("2006-01-02T15:04:05.000Z07:00")
	}
	head := fmt.Sprintf("%s %s %s ", Escape(at), chainText(l.Chain), Escape(string(l.Stream)))
	if k.output == "wide" {
		pids := ""
		if len(l.PIDs) > 1 {
			pids = fmt.Sprintf(" (inside %d)", l.PIDs[len(l.PIDs)-1])
		}
		if l.Via == identity.LogFile {
			head += "from a file "
		} else {
			head += fmt.Sprintf("%s pid %d%s uid %d (inside %s) ", Escape(l.Comm), l.PID, pids, l.UID, idText(l.InnerUID))
		}
	}
	if l.DroppedBytes > 0 || l.DroppedRecords > 0 {
		if _, err := fmt.Fprintf(w, "%s-- %d bytes of %d writes are missing here: the container wrote too fast --\n", head, l.DroppedBytes, l.DroppedRecords); err != nil {
			return err
		}
		if l.Body == "" && l.Partial {
			return nil
		}
	}
	body := l.Body
	if len(l.Raw) > 0 {
		body = string(l.Raw)
	}
	end := "\n"
	if l.Partial {
		end = "\\\n"
	}
	_, err := fmt.Fprint(w, head, Escape(body), end)
	return err
}
