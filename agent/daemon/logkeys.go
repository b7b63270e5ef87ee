package daemon

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/eyas-agent/eyas/collectors/logs"
)

func logSelection(s string) error {
	_, err := logs.ParseSelection(s)
	return err
}

func outputFile(s string) error {
	if s == "" || s == "-" {
		return nil
	}
	return absolute(s)
}

const maxRedact = 64

func (f *file) redaction(v *yaml.Node) ([]string, error) {
	if v.Kind != yaml.SequenceNode || len(v.Content) > maxRedact {
		return nil, f.errorf(v, "key %q: want a list of at most %d regular expressions (RE2)", keyRedact, maxRedact)
	}
	all := []string{}
	for i, x := range v.Content {
		err := f.scalar(fmt.Sprintf("%s[%d]", keyRedact, i), x, func(s string) error {
			all = append(all, s)
			_, err := logs.ParseRedaction([]string{s})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
