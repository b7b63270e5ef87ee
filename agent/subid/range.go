package subid

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// BlockSize is the number of ids in a block, which is what an image may use
// (nobody is 65534) and what kubelet and systemd deal in.
const BlockSize = 1 << 16

// idSpace is one past the largest 32-bit id.
const idSpace = uint64(1) << 32

// Range is Count consecutive ids from Start on. It may end at 2^32, because
// others' ranges do; a lease never does.
type Range struct {
	Start uint32 `json:"start"`
	Count uint32 `json:"count"`
}

// End is one past the last id. It does not fit 32 bits for ranges up to 2^32.
func (r Range) End() uint64 { return uint64(r.Start) + uint64(r.Count) }

// String returns start:count, as /etc/subuid has it.
func (r Range) String() string {
	return strconv.FormatUint(uint64(r.Start), 10) + ":" + strconv.FormatUint(uint64(r.Count), 10)
}

// Has reports whether id is in the range.
func (r Range) Has(id uint32) bool { return id >= r.Start && uint64(id) < r.End() }

// Contains reports whether all ids of o are in r. An empty range is in none.
func (r Range) Contains(o Range) bool {
	return o.Count > 0 && o.Start >= r.Start && o.End() <= r.End()
}

// Overlaps reports whether r and o share an id.
func (r Range) Overlaps(o Range) bool {
	return r.Count > 0 && o.Count > 0 && uint64(r.Start) < o.End() && uint64(o.Start) < r.End()
}

// Validate refuses what is no range of ids.
func (r Range) Validate() error {
	if r.Count == 0 {
		return fmt.Errorf("range %s: has no ids: the count must be 1 or more", r)
	}
	if r.End() > idSpace {
		return fmt.Errorf("range %s: ends at %d, past the last id 4294967295: lower the count to %d or less", r, r.End()-1, idSpace-uint64(r.Start))
	}
	return nil
}

// ParseRange reads start:count, in decimal.
func ParseRange(s string) (Range, error) {
	first, count, ok := strings.Cut(s, ":")
	if !ok {
		return Range{}, fmt.Errorf("parse range %s: no colon: want start:count, as in 1073741824:268435456", quote(s))
	}
	var r Range
	for _, part := range []struct {
		name, text string
		to         *uint32
	}{{"start", first, &r.Start}, {"count", count, &r.Count}} {
		// ParseUint takes no sign, no blank, and with base 10 no underscore.
		v, err := strconv.ParseUint(part.text, 10, 32)
		if err != nil {
			return Range{}, fmt.Errorf("parse range %s: %s %s is no number from 0 to 4294967295", quote(s), part.name, quote(part.text))
		}
		*part.to = uint32(v)
	}
	if err := r.Validate(); err != nil {
		return Range{}, fmt.Errorf("parse range: %w", err)
	}
	return r, nil
}

// UnmarshalJSON refuses what Validate refuses, so that no damaged record
// becomes a range that overlaps nothing.
func (r *Range) UnmarshalJSON(b []byte) error {
	type plain Range
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("decode range: %w", err)
	}
	if err := Range(p).Validate(); err != nil {
		return fmt.Errorf("decode range: %w", err)
	}
	*r = Range(p)
	return nil
}

// maxQuoted bounds foreign text in errors.
const maxQuoted = 64

// quote makes foreign text printable, and short.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
