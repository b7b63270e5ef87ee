package logs

import (
	"fmt"
	"regexp"
)

// Redacted stands for what a line had that is not to be told.
const Redacted = "[redacted]"

// Redaction is what is taken out of every line, before anybody else sees it. It sees
// one line, or part of one, at a time: what is split between parts stays.
type Redaction []*regexp.Regexp

// ParseRedaction compiles expressions in the syntax of RE2.
func ParseRedaction(all []string) (Redaction, error) {
	var r Redaction
	for _, s := range all {
		x, err := regexp.Compile(s)
		switch {
		case err != nil:
			return nil, fmt.Errorf("want a regular expression (RE2): %w", err)
		case x.MatchString(""):
			return nil, fmt.Errorf("want a regular expression that does not match nothing, got %q", s)
		}
		r = append(r, x)
	}
	return r, nil
}

// apply returns body without what is to be redacted; body itself if that is nothing.
func (r Redaction) apply(body []byte) []byte {
	for _, x := range r {
		if x.Match(body) {
			body = x.ReplaceAllLiteral(body, []byte(Redacted))
		}
	}
	return body
}
