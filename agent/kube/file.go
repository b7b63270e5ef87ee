package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// File is the name of the file with what was last known, below the state
// directory.
const File = "kube-pods.json"

const (
	maxFile    = 64 << 20
	fileFormat = 1
)

// lastKnown is the file.
type lastKnown struct {
	Format int       `json:"format"`
	Node   string    `json:"node"`
	AsOf   time.Time `json:"as_of"` // when the API server was last heard
	Pods   []*entry  `json:"pods"`
}

// load takes what an earlier run knew of the node's pods; node "" takes whatever
// node's. No file is no error.
func (s *pods) load(dir, node string) error {
	f, err := os.Open(filepath.Join(dir, File))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the pods last known: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fmt.Errorf("read the pods last known: %w", err)
	}
	var k lastKnown
	if len(b) > maxFile {
		return fmt.Errorf("read the pods last known: %s has more than %d bytes: remove it", f.Name(), maxFile)
	}
	if err := json.Unmarshal(b, &k); err != nil {
		return fmt.Errorf("read the pods last known: parse %s: %w: remove it", f.Name(), err)
	}
	if k.Format != fileFormat || node != "" && k.Node != node {
		return nil // of another version, or of another node: it is written anew
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range k.Pods {
		if e != nil && e.valid() {
			s.keep(e)
		}
	}
	s.heard = k.AsOf
	s.wake()
	return nil
}

// save writes what is known, if that is news to the file.
func (s *pods) save(dir, node string) (err error) {
	s.mu.Lock()
	if !s.dirty {
		s.mu.Unlock()
		return nil
	}
	s.dirty = false
	k := lastKnown{Format: fileFormat, Node: node, AsOf: s.heard, Pods: make([]*entry, 0, s.n)}
	for uid, e := range s.byUID {
		if uid == e.UID {
			k.Pods = append(k.Pods, e)
		}
	}
	s.mu.Unlock()
	defer func() {
		if err != nil {
			s.mu.Lock()
			s.dirty = true
			s.mu.Unlock()
			err = fmt.Errorf("write the pods last known: %w", err)
		}
	}()
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, File+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, File))
}
