package daemon

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/kubelet"
	"github.com/eyas-agent/eyas/collectors/tracker"
)

// told passes on what it is told.
type told struct {
	tracker.Memory
	spaces int
	pods   chan identity.PodRecord
}

func (m *told) PutUserNS(identity.UserNSRecord)     { m.spaces++ }
func (m *told) PutPod(r identity.PodRecord)         { m.pods <- r }
func (m *told) PutPodScan(time.Time)                {}
func (m *told) Pods(func(identity.PodRecord)) error { return nil }
func (m *told) PodScan() time.Time                  { return time.Time{} }

// A new user namespace of level 1 has kubelet's records read before their turn;
// one that is deeper, or gone, does not.
func TestPodsFirst(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "pods", "2ff1", "userns")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m := &told{pods: make(chan identity.PodRecord, 9)}
		w, err := kubelet.New(kubelet.Options{Root: root, Memory: m, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		const record = `{"uidMappings":[{"hostId":65536,"length":65536}],"gidMappings":[{"hostId":65536,"length":65536}]}`
		if err := os.WriteFile(file, []byte(record), 0o600); err != nil {
			t.Fatal(err)
		}
		p, start := podsFirst{m, w}, time.Now()
		p.PutUserNS(identity.UserNSRecord{Level: 2})
		p.PutUserNS(identity.UserNSRecord{Level: 1, Gone: true})
		<-time.After(time.Second)
		if len(m.pods) != 0 {
			t.Error("records were read for nothing")
		}
		p.PutUserNS(identity.UserNSRecord{Level: 1})
		if after := (<-m.pods).Last.Sub(start); after != time.Second || m.spaces != 3 {
			t.Errorf("met after %s, %d namespaces remembered", after, m.spaces)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
