package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// ConditionType is the node's condition: True, it is fit for containers inside
// containers; False, some check fails; Unknown, nobody could tell.
const ConditionType corev1.NodeConditionType = "NestedContainersReady"

// Verdict is what the condition says.
type Verdict struct {
	Fit     *bool  // nil: not known
	Reason  string // a word in CamelCase
	Message string
}

func (v Verdict) status() corev1.ConditionStatus {
	switch {
	case v.Fit == nil:
		return corev1.ConditionUnknown
	case *v.Fit:
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

// condition keeps the node's condition as the last verdict says.
type condition struct {
	client rest.Interface
	o      Options
	wake   chan struct{}

	mu      sync.Mutex
	verdict *Verdict // nil: there was none yet

	sent, failed atomic.Uint64
}

func newCondition(client rest.Interface, o Options) *condition {
	return &condition{client: client, o: o, wake: make(chan struct{}, 1)}
}

// SetVerdict has the node's condition follow. It never blocks.
func (k *Kube) SetVerdict(v Verdict) {
	k.state.mu.Lock()
	k.state.verdict = &v
	k.state.mu.Unlock()
	select {
	case k.state.wake <- struct{}{}:
	default:
	}
}

// run patches the condition when the verdict is new, and every now and then so
// that its heartbeat tells that an agent runs. What fails is tried again.
func (c *condition) run(ctx context.Context) {
	timer := time.NewTimer(c.o.Every)
	defer timer.Stop()
	failing, wait := false, c.o.Backoff
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		err := c.patch(ctx)
		next := c.o.Every
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.failed.Add(1)
			next, wait = wait, min(2*wait, time.Minute)
			if !failing {
				c.o.Log.Warn().Err(err).Msg("the node's condition cannot be told; eyas keeps trying")
			}
		default:
			wait = c.o.Backoff
		}
		failing = err != nil
		timer.Reset(next)
	}
}

// patch makes the condition what the verdict says. Of the node it needs the right
// to patch its status alone: an empty patch changes nothing, and its answer says
// since when the condition is what it is.
func (c *condition) patch(ctx context.Context) error {
	c.mu.Lock()
	v := c.verdict
	c.mu.Unlock()
	if v == nil {
		return nil
	}
	node, err := c.ask(ctx, []byte(`{}`))
	if err != nil {
		return fmt.Errorf("read the condition of node %s: %w", c.o.Node, err)
	}
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	next := corev1.NodeCondition{
		Type: ConditionType, Status: v.status(), Reason: v.Reason, Message: text(v.Message, maxMessage),
		LastHeartbeatTime: now, LastTransitionTime: now,
	}
	for _, old := range node.Status.Conditions {
		if old.Type == ConditionType && old.Status == next.Status {
			next.LastTransitionTime = old.LastTransitionTime
		}
	}
	// Conditions are merged by their type: nobody else's is touched.
	body, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{next}}})
	if err != nil {
		return fmt.Errorf("patch node %s: %w", c.o.Node, err)
	}
	if _, err := c.ask(ctx, body); err != nil {
		return fmt.Errorf("patch the status of node %s: %w", c.o.Node, err)
	}
	c.sent.Add(1)
	return nil
}

func (c *condition) ask(ctx context.Context, body []byte) (*corev1.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	node := &corev1.Node{}
	err := c.client.Patch(types.StrategicMergePatchType).Resource("nodes").Name(c.o.Node).SubResource("status").Body(body).Do(ctx).Into(node)
	return node, err
}
