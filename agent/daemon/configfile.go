package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// KeyError is a value that does not go with another one.
type KeyError struct {
	Key  string // its full path
	Got  string
	Want error
}

func (e *KeyError) Error() string { return fmt.Sprintf("key %q: %v, got %q", e.Key, e.Want, e.Got) }

func (e *KeyError) Unwrap() error { return e.Want }

// LoadFile applies a YAML file: a mapping of the settings' keys, and of those
// for sandboxes. Errors name the file, the line, the key and what is wanted.
func (c *Config) LoadFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	return c.load(path, b)
}

func (c *Config) load(path string, b []byte) error {
	f := &file{path: path, lines: map[string]int{}}
	root, err := f.parse(b)
	if err != nil || root == nil {
		return err
	}
	settings := c.Settings()
	nested := map[string]*yaml.Node{}
	err = f.each(root, "", func(key string, k, v *yaml.Node) error {
		if slices.Contains(fileKeys, key) {
			nested[key] = v
			return nil
		}
		at := slices.IndexFunc(settings, func(s Setting) bool { return s.Key == key })
		if at < 0 {
			return f.unknown(k, key, append(keys(settings), fileKeys...))
		}
		return f.scalar(key, v, settings[at].Parse)
	})
	if err != nil {
		return err
	}
	if err := c.loadSandboxes(f, nested); err != nil {
		return err
	}
	if v, ok := nested[keyRedact]; ok {
		if c.LogsRedact, err = f.redaction(v); err != nil {
			return err
		}
	}
	var wrong *KeyError
	if err := c.Check(); errors.As(err, &wrong) {
		return fmt.Errorf("parse config %s: line %d: %w", path, f.line(wrong.Key), err)
	}
	return nil
}

func keys(settings []Setting) (all []string) {
	for _, s := range settings {
		all = append(all, s.Key)
	}
	return all
}

// file is a file being read.
type file struct {
	path  string
	lines map[string]int // of values, by the full path of their key
}

// line is where a key's value stands or, if it stands nowhere, what it is in.
func (f *file) line(key string) int {
	for {
		if n, ok := f.lines[key]; ok {
			return n
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return 1
		}
		key = key[:i]
	}
}

// parse returns the mapping that a file is; nil: it has nothing but comments.
func (f *file) parse(b []byte) (*yaml.Node, error) {
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	err := dec.Decode(&doc)
	if err == nil {
		if err = dec.Decode(&more); err == nil {
			return nil, f.errorf(&more, "a second document would be ignored: make it one")
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("parse config %s: %s", f.path, strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, f.errorf(root, "want keys with values, such as \"log-level: debug\"")
	}
	return root, nil
}

func (f *file) errorf(at *yaml.Node, format string, a ...any) error {
	return fmt.Errorf("parse config %s: line %d: %w", f.path, at.Line, fmt.Errorf(format, a...))
}

// refuse says what is wanted of a value.
func (f *file) refuse(at *yaml.Node, key string, want error, got string) error {
	const most = 200
	if len(got) > most {
		got = strings.ToValidUTF8(got[:most], "") + "…"
	}
	return f.errorf(at, "%w", &KeyError{key, got, want})
}

func (f *file) unknown(k *yaml.Node, key string, known []string) error {
	return f.errorf(k, "unknown key %q: known are %s", key, strings.Join(known, ", "))
}

// each calls set for every key of a mapping, with its full path and its value.
// within is the path of the mapping, "" for the file's own. An empty value is
// an empty mapping.
func (f *file) each(m *yaml.Node, within string, set func(path string, k, v *yaml.Node) error) error {
	if m.Kind != yaml.MappingNode && (m.Kind != yaml.ScalarNode || m.Value != "" || m.Tag != "!!null") {
		return f.errorf(m, "key %q: want keys with values", within)
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		k, v := m.Content[i], m.Content[i+1]
		path := name(k)
		if within != "" {
			path = within + "." + path
		}
		if _, seen := f.lines[path]; seen {
			return f.errorf(k, "key %q stands twice: remove one", path)
		}
		if err := set(path, k, v); err != nil {
			return err
		}
		f.lines[path] = v.Line
	}
	return nil
}

// name is the text of a key; of one that is no text it is empty.
func name(k *yaml.Node) string {
	if k.Kind != yaml.ScalarNode {
		return ""
	}
	return k.Value
}

func (f *file) scalar(key string, v *yaml.Node, parse func(string) error) error {
	if v.Kind != yaml.ScalarNode {
		return f.errorf(v, "key %q: want a single value", key)
	}
	if err := parse(v.Value); err != nil {
		return f.refuse(v, key, err, v.Value)
	}
	return nil
}
