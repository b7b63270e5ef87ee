// Command build makes the static programs storm and storm-worker in a
// directory, for a guest that has no compilers.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/eyas-agent/eyas/test/storm/stormtest"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: build DIR")
		os.Exit(2)
	}
	if err := stormtest.Build(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}
