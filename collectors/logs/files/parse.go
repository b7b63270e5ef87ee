package files

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/eyas-agent/eyas/bpf"
	"github.com/eyas-agent/eyas/collectors/identity/evidence"
)

// entry is what a line of a log file tells: a line of a container, or a part of one.
type entry struct {
	time time.Time
	fd   uint32 // bpf.LogStdout or bpf.LogStderr
	text []byte // without the end of the line
	end  bool   // the line ends here
}

// parser reads one line, without its end; false: it is of another format. What it
// returns may share the line's memory.
type parser func(line []byte) (entry, bool)

func parserOf(f evidence.LogFormat) parser {
	if f == evidence.LogJSON {
		return parseJSON
	}
	return parseK8s
}

func streamFD(name string) (uint32, bool) {
	switch name {
	case "stdout":
		return bpf.LogStdout, true
	case "stderr":
		return bpf.LogStderr, true
	}
	return 0, false
}

// parseK8s reads "TIME STREAM TAGS TEXT", the format of the CRI and of podman's
// k8s-file. The first of the tags, which colons separate, is F, or P for a part.
func parseK8s(line []byte) (e entry, ok bool) {
	at, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return e, false
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return e, false
	}
	if e.fd, ok = streamFD(string(stream)); !ok {
		return e, false
	}
	tags, text, _ := bytes.Cut(rest, []byte{' '})
	switch first, _, _ := bytes.Cut(tags, []byte{':'}); string(first) {
	case "F":
		e.end = true
	case "P":
	default:
		return e, false
	}
	var err error
	if e.time, err = time.Parse(time.RFC3339Nano, string(at)); err != nil {
		return e, false
	}
	e.text = text
	return e, true
}

// parseJSON reads an object of docker's json-file. Of a line in parts all but the last
// lack the end of the line. Bytes that are no UTF-8 docker has replaced.
func parseJSON(line []byte) (e entry, ok bool) {
	var v struct {
		Log    *string   `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(line, &v); err != nil || v.Log == nil || v.Time.IsZero() {
		return e, false
	}
	if e.fd, ok = streamFD(v.Stream); !ok {
		return e, false
	}
	e.time = v.Time
	e.text, e.end = bytes.CutSuffix([]byte(*v.Log), []byte{'\n'})
	return e, true
}
