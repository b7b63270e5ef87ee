package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strconv"
)

// maxFile bounds a lease's file, in bytes.
const maxFile = 64 << 10

// file is what stands on disk. Sum is over the file without it, so that a
// flipped bit in a uid or a path is noticed. A file without a sum is taken as
// edited by a person.
type file struct {
	Lease
	Sum string `json:"sum,omitempty"`
}

// Kinds of damage; they end the names of files that were set aside.
const (
	damageKind       = "not-a-file" // a directory, a link, a pipe
	damageUnreadable = "unreadable" // the disk gave an error
	damageSize       = "too-large"
	damageTorn       = "torn"    // not JSON, or not all of it
	damageSum        = "sum"     // the bytes are not those that were written
	damageIllegal    = "illegal" // a field has a value that it cannot have
	damageName       = "name"    // the file is named otherwise than the lease in it
	damageOverlap    = "overlap" // an older lease has the range
)

// damage says why a file is not used.
type damage struct {
	kind string
	err  error
}

func (d *damage) Error() string { return d.err.Error() }
func (d *damage) Unwrap() error { return d.err }

// encode returns a lease's file: always the same bytes for the same lease.
func encode(l Lease) ([]byte, error) {
	f := file{Lease: l.normal()}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("lease %q: %w", l.ID, err)
	}
	body, err := f.marshal()
	if err != nil {
		return nil, fmt.Errorf("encode lease %s: %w", l.ID, err)
	}
	data := append(body[:len(body)-len(end):len(body)-len(end)], trailer(body)...)
	if len(data) > maxFile {
		return nil, fmt.Errorf("lease %s takes %d bytes, more than %d", l.ID, len(data), maxFile)
	}
	return data, nil
}

// end is how a file without a sum ends.
const end = "\n}\n"

// trailer is how a file ends that is otherwise like body: with body's sum.
func trailer(body []byte) string {
	sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
	return fmt.Sprintf(",\n  \"sum\": \"crc32c:%08x\""+end, sum)
}

// sumFits reports whether a file ends with the sum of the rest of it.
func sumFits(data []byte) bool {
	n := len(data) - len(trailer(nil))
	if n < 0 {
		return false
	}
	body := append(data[:n:n], end...)
	return string(data[n:]) == trailer(body)
}

func (f file) marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(f)
	return b.Bytes(), err
}

// parse reads a lease's file. It is strict: unknown fields, trailing data, and
// a byte that does not fit the sum are damage.
func parse(data []byte) (Lease, error) {
	if len(data) > maxFile {
		return Lease{}, &damage{damageSize, fmt.Errorf("larger than %d bytes", maxFile)}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var f file
	if err := d.Decode(&f); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("empty")
		}
		return Lease{}, &damage{damageTorn, err}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Lease{}, &damage{damageTorn, errors.New("more follows after the lease")}
	}
	if err := f.check(); err != nil {
		return Lease{}, &damage{damageIllegal, err}
	}
	if f.Sum != "" && !sumFits(data) {
		return Lease{}, &damage{damageSum, errors.New("its sum does not fit it (to edit a file by hand, remove its sum)")}
	}
	return f.normal(), nil
}

var rangeText = regexp.MustCompile(`"start":\s*(\d{1,10}),\s*"count":\s*(\d{1,10}),\s*"last":\s*(\d{1,10})\s*\}`)

// salvage finds the range in a damaged file; false unless exactly one stands
// there and its numbers agree. Quotes inside of texts are escaped, so no text
// can look like a range.
func salvage(data []byte) (Range, bool) {
	m := rangeText.FindAllSubmatch(data[:min(len(data), maxFile)], 2)
	if len(m) != 1 {
		return Range{}, false
	}
	var n [3]uint32
	for i := range n {
		v, err := strconv.ParseUint(string(m[0][i+1]), 10, 32)
		if err != nil {
			return Range{}, false
		}
		n[i] = uint32(v)
	}
	r := Range{n[0], n[1]}
	if r.check() != nil || r.Last() != n[2] {
		return Range{}, false
	}
	return r, true
}
