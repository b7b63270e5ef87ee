//go:build host

package host

import (
	"fmt"
	"regexp"
	"strings"
)

// sequence is a control sequence of a terminal, or a character.
var sequence = regexp.MustCompile(`\x1b\[([?0-9;]*)([A-Za-z])|\x1b[()].|\x1b.|(?s:.)`)

// screenOf is what a terminal of 80 by 24 shows after it was sent s: as much of one
// as eyas top needs, where each character is one cell.
func screenOf(s string) string {
	cells := make([][]rune, 24)
	for y := range cells {
		cells[y] = []rune(strings.Repeat(" ", 80))
	}
	x, y := 0, 0
	for _, m := range sequence.FindAllStringSubmatch(s, -1) {
		switch {
		case m[2] == "H":
			x, y = 0, 0
			if m[1] != "" {
				_, _ = fmt.Sscanf(m[1], "%d;%d", &y, &x)
				x, y = x-1, y-1
			}
		case m[2] == "J":
			for y := range cells {
				cells[y] = []rune(strings.Repeat(" ", 80))
			}
		case m[0][0] == '\r':
			x = 0
		case m[0][0] == '\n':
			y++
		case m[0][0] >= ' ':
			if y < 24 && x < 80 {
				cells[y][x] = []rune(m[0])[0]
			}
			x++
		}
	}
	var lines []string
	for _, l := range cells {
		lines = append(lines, strings.TrimRight(string(l), " "))
	}
	return strings.Join(lines, "\n")
}
