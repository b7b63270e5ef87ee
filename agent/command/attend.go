package command

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

// attendFlag is for calls from elsewhere: of a process that an exec in a container
// started, nobody tells that its caller is gone, but its input ends then.
const attendFlag = "end-with-stdin"

// attend gives all commands the flag by which they end with their input.
func attend(root *cobra.Command, env Env) {
	var on bool
	root.PersistentFlags().BoolVar(&on, attendFlag, false, "end when stdin does")
	root.PersistentFlags().Lookup(attendFlag).Hidden = true
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if !on {
			return nil
		}
		ctx, cancel := context.WithCancel(c.Context())
		go func() { // ends with the input, or the process
			_, _ = io.Copy(io.Discard, env.Stdin)
			cancel()
		}()
		c.SetContext(ctx)
		return nil
	}
}
