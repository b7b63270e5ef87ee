package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// clusterTime is for a look at a cluster, which nobody waits long for.
const clusterTime = 5 * time.Second

// maxHandlers bounds the RuntimeClasses that are looked at.
const maxHandlers = 500

// LookAtCluster asks the API server for its version and for the handlers of its
// RuntimeClasses, by their names: of a kubeconfig ($KUBECONFIG, or that of the user,
// if none is named), or as a pod. Handlers are nil if one may not see them. The error
// is ErrNone where there is no API server to be found.
func LookAtCluster(ctx context.Context, kubeconfig string) (version string, handlers map[string]string, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if clientcmd.IsEmptyConfig(err) && kubeconfig == "" {
		if os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
			return "", nil, ErrNone
		}
		c, err = rest.InClusterConfig()
	}
	if err != nil {
		return "", nil, fmt.Errorf("find the API server: %w", err)
	}
	client, err := NewClient(c, "")
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTime)
	defer cancel()
	b, err := client.Get().AbsPath("/version").SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("ask the API server for its version: %w", err)
	}
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return "", nil, fmt.Errorf("ask the API server for its version: %w", err)
	}
	return text(v.GitVersion, 64), handlersOf(ctx, client), nil
}

// handlersOf is nil when one may not list them, which costs a line of the answer.
func handlersOf(ctx context.Context, client *rest.RESTClient) map[string]string {
	b, err := client.Get().AbsPath("/apis/node.k8s.io/v1/runtimeclasses").Param("limit", fmt.Sprint(maxHandlers)).
		SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return nil
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Handler  string
		}
	}
	if json.Unmarshal(b, &list) != nil {
		return nil
	}
	handlers := map[string]string{}
	for _, i := range list.Items {
		handlers[text(i.Metadata.Name, 253)] = text(i.Handler, 63)
	}
	return handlers
}
