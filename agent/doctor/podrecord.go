package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/eyas-agent/eyas/collectors/identity"
	"github.com/eyas-agent/eyas/collectors/kubelet"
)

const maxPodDirs = 10_000

func (n *Node) kubeletRecords(context.Context) finding {
	return n.withRange(func(r subRange) finding {
		pods, err := n.root.list(n.kubelet+"/pods", maxPodDirs)
		if errors.Is(err, os.ErrNotExist) {
			return mootf("no pods on disk")
		}
		if err != nil {
			return unreadable(err)
		}
		slices.Sort(pods)
		var wrong []string
		blocks := map[uint64]string{}
		for _, pod := range pods {
			b, err := n.root.read(filepath.Join(n.kubelet, "pods", pod, "userns"), maxText)
			if errors.Is(err, os.ErrNotExist) {
				continue // hostUsers: true
			}
			if err == nil {
				err = judgeRecord(b, r, blocks, pod)
			}
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("pod %s: %v", clip(pod, 36), err))
			}
		}
		switch {
		case len(wrong) > 0:
			return failf("%s", named(wrong))
		case len(blocks) == 0:
			return okf("no pod has a user namespace")
		}
		return okf("%d pods with blocks in %s", len(blocks), r)
	})
}

func judgeRecord(b []byte, r subRange, blocks map[uint64]string, pod string) error {
	uids, gids, err := kubelet.Parse(b)
	if err != nil {
		return err
	}
	if len(uids) != 1 || !slices.Equal([]identity.Extent(uids), gids) {
		return errors.New("want one mapping, for uids as for gids")
	}
	host, length := uint64(uids[0].Host), uint64(uids[0].Count)
	switch other, taken := blocks[host]; {
	case host < r.first || host+length > r.end():
		return fmt.Errorf("%d is out of range %s", host, r)
	case host == terminalBlock:
		return fmt.Errorf("has block %d, which the kernel refuses", host)
	case length%idsPerPod != 0:
		return fmt.Errorf("%d ids, want a multiple of %d", length, idsPerPod)
	case taken:
		return fmt.Errorf("block %d is also that of pod %s", host, clip(other, 36))
	}
	blocks[host] = pod
	return nil
}
