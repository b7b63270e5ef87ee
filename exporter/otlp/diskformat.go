package otlp

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// A batch on disk is its count of records and of bytes, and gzipped JSON.
const header = 16

func encode(b batch) ([]byte, error) {
	var buf bytes.Buffer
	buf.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(b.Records)), uint64(b.Bytes)))
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err == nil {
		err = errors.Join(json.NewEncoder(w).Encode(b.entries), w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("encode log lines: %w", err)
	}
	return buf.Bytes(), nil
}

func decode(v []byte) (entries []entry, err error) {
	r, err := gzip.NewReader(bytes.NewReader(v[header:]))
	if err == nil {
		err = json.NewDecoder(r).Decode(&entries)
	}
	if err != nil {
		return nil, fmt.Errorf("decode log lines: %w", err)
	}
	if n := countOf(v).Records; int64(len(entries)) != n {
		return nil, fmt.Errorf("decode log lines: %d instead of %d", len(entries), n)
	}
	return entries, nil
}

func countOf(v []byte) Count {
	return Count{int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:]))}
}
