package top

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/clipperhouse/displaywidth"

	"github.com/eyas-agent/eyas/collectors/identity"
)

// none is what is not known.
const none = "-"

// countText writes a number in at most five characters, exact up to 99999.
func countText(n uint64) string {
	if n < 100_000 {
		return strconv.FormatUint(n, 10)
	}
	return scaled(float64(n), 1000, "kMGTPE")
}

// bytesText writes bytes in at most four characters.
func bytesText(n uint64) string { return scaled(float64(n), 1024, "KMGTPE") }

func scaled(v, unit float64, units string) string {
	if v < 999.5 {
		return fmt.Sprintf("%.0f", v)
	}
	i := -1
	for v >= 999.5 && i < len(units)-1 {
		v /= unit
		i++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f%c", v, units[i])
	}
	return fmt.Sprintf("%.0f%c", v, units[i])
}

// rateText writes a rate per second; one of less than 0.05 that is not 0 as 0.0.
func rateText(v *float64) string {
	switch {
	case v == nil:
		return none
	case *v == 0:
		return "0"
	case *v < 99.95:
		return fmt.Sprintf("%.1f", *v)
	}
	return countText(uint64(*v + 0.5))
}

func byteRateText(v *float64) string {
	if v == nil {
		return none
	}
	return bytesText(uint64(*v + 0.5))
}

func useText(u *identity.StatsUse, text func(uint64) string) string {
	switch {
	case u == nil:
		return none
	case u.Max == nil:
		return text(u.Current) + "/max"
	}
	return text(u.Current) + "/" + text(*u.Max)
}

// pidsText is exact where it fits into nine characters.
func pidsText(u *identity.StatsUse) string {
	s := useText(u, countText)
	if len(s) > 9 {
		s = useText(u, func(n uint64) string { return scaled(float64(n), 1000, "kMGTPE") })
	}
	return s
}

// pressureText is the percentages of cpu, memory and io, in two digits each: 99 is
// all of the time, too.
func pressureText(p *identity.StatsPressure) string {
	if p == nil {
		return none
	}
	var parts []string
	for _, v := range []*float64{p.CPU, p.Memory, p.IO} {
		if v == nil {
			parts = append(parts, none)
		} else {
			parts = append(parts, fmt.Sprintf("%.0f", min(*v, 99)))
		}
	}
	return strings.Join(parts, "/")
}

// cell fits text that is escaped into so many cells of a terminal: filled up with
// blanks, or cut, where a name keeps its end, which is the innermost, and a number
// loses all rather than a digit.
func cell(s string, width int, right bool) string {
	w := displaywidth.String(s)
	switch {
	case w > width && right:
		return strings.Repeat("#", width)
	case w > width:
		s, w = keepEnd(s, width)
	}
	pad := strings.Repeat(" ", width-w)
	if right {
		return pad + s
	}
	return s + pad
}

// keepEnd is s, or its end behind an ellipsis, in at most width cells, and how many
// those are.
func keepEnd(s string, width int) (string, int) {
	w := displaywidth.String(s)
	if w <= width {
		return s, w
	}
	g := displaywidth.StringGraphemes(s)
	for w > width-1 && g.Next() {
		s, w = s[len(g.Value()):], w-g.Width()
	}
	return "…" + s, w + 1
}

// keepStart is the start of s in at most width cells.
func keepStart(s string, width int) string {
	end, w := 0, 0
	for g := displaywidth.StringGraphemes(s); g.Next() && w+g.Width() <= width; {
		end, w = end+len(g.Value()), w+g.Width()
	}
	return s[:end]
}
