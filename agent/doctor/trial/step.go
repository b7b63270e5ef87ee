package trial

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Step is what came of one attempt; neither an error nor Skipped: it worked.
type Step struct {
	Skipped bool   `json:"skipped,omitempty"`
	Error   string `json:"error,omitempty"`
	Errno   int    `json:"errno,omitempty"`
}

// OK reports whether it was tried and worked.
func (s Step) OK() bool { return !s.Skipped && s.Error == "" }

// failed is a step that did not work.
func failed(what string, err error) Step {
	s := Step{Error: what + ": " + err.Error()}
	var errno unix.Errno
	if errors.As(err, &errno) {
		s.Errno = int(errno)
		s.Error = what + ": " + errno.Error() // paths of the trial's own say nothing
	}
	return s
}

func attemptStep(what string, err error) Step {
	if err != nil {
		return failed(what, err)
	}
	return Step{}
}
