//go:build host

package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// step is a command of a document, and what it prints there: the lines after it. A line
// of … stands for any lines, … within one for any text; numbers, ages and ids are as they come.
type step struct {
	line            int // in the document
	command, prints string
}

// steps are what a section of a document has a reader type: after "$ " in its blocks of
// console.
func steps(text, section string) (all []step) {
	inside, block := false, false
	for i, line := range strings.Split(text, "\n") {
		command, typed := strings.CutPrefix(line, "$ ")
		switch {
		case !block && strings.HasPrefix(line, "#"):
			inside = line == section
		case strings.HasPrefix(line, "```"):
			block = inside && line == "```console"
		case block && typed:
			all = append(all, step{line: i + 1, command: command})
		case block && len(all) > 0:
			all[len(all)-1].prints += line + "\n"
		}
	}
	return all
}

var (
	spaces   = regexp.MustCompile(`[ \t]+`)
	decimals = regexp.MustCompile(`\b\d+(\.\d+)?\b`)
	ids      = regexp.MustCompile(`\b[0-9a-f]{8,}\b`)
	ages     = regexp.MustCompile(`\b(\d+[dhms])+\b`)
	numbers  = regexp.MustCompile(`\d+(\.\d+)?`)
)

// plain is a text without what differs from run to run.
func plain(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(spaces.ReplaceAllString(line, " ")))
	}
	text = decimals.ReplaceAllString(strings.TrimSpace(strings.Join(lines, "\n")), "N")
	return numbers.ReplaceAllString(ages.ReplaceAllString(ids.ReplaceAllString(text, "ID"), "N"), "N")
}

// agrees reports whether a command has printed what the document says.
func (s step) agrees(printed string) bool {
	pattern := regexp.QuoteMeta("\n" + plain(s.prints) + "\n")
	pattern = strings.ReplaceAll(pattern, "\n…\n", `\n(.*\n)*?`)
	pattern = strings.ReplaceAll(pattern, "…", `.*`)
	return regexp.MustCompile("^" + pattern + "$").MatchString("\n" + plain(printed) + "\n")
}

// follow does what a section of docs/install.md says, to the letter, where a reader
// stands: at the top of the sources.
func (c *cluster) follow(section string) {
	c.Helper()
	text, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		c.Fatal(err)
	}
	all := steps(string(text), section)
	if len(all) == 0 {
		c.Fatalf("docs/install.md has nothing to do in %q", section)
	}
	for _, s := range all {
		ctx, cancel := context.WithTimeout(c.ctx, patience)
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.command)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "KUBECONFIG="+c.path("kubeconfig"))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		cancel()
		where := fmt.Sprintf("docs/install.md:%d: %s", s.line, s.command)
		switch {
		case err != nil:
			c.Fatalf("%s: %v: %s%s", where, err, out, &errs)
		case !s.agrees(string(out)):
			c.Errorf("%s: prints\n%s\nbut in the document\n%s", where, out, s.prints)
		default:
			c.Logf("%s\n%s", where, out)
		}
	}
}
