package remote

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/eyas-agent/eyas/agent/kube"
)

// AgentNamespace is where manifests/base installs the agent.
const AgentNamespace = "eyas-system"

// Flags are those of kubectl that say which cluster, and where the agent is in it.
type Flags struct {
	Kubeconfig     string
	AgentNamespace string
	overrides      clientcmd.ConfigOverrides
}

// Bind adds the flags. kubectl's --user, which names one of a kubeconfig, is left out:
// commands have one of their own, and --context has a user in it.
func (f *Flags) Bind(set *pflag.FlagSet) {
	set.StringVar(&f.Kubeconfig, "kubeconfig", "", "file that says where the API server is (default: $KUBECONFIG, or ~/.kube/config)")
	set.StringVar(&f.AgentNamespace, "agent-namespace", AgentNamespace, "namespace of the agent's DaemonSet")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ContextOverrideFlags.AuthInfoName.LongName = ""
	names.AuthOverrideFlags.Username.LongName, names.AuthOverrideFlags.Password.LongName = "", ""
	clientcmd.BindOverrideFlags(&f.overrides, set, names)
}

// NamespaceGiven reports whether --namespace was: then targets have none.
func (f *Flags) NamespaceGiven() bool { return f.overrides.Context.Namespace != "" }

// Cluster is a cluster that eyas runs in.
type Cluster struct {
	config    *rest.Config
	client    *rest.RESTClient
	namespace string // of pods that are named without one
	given     bool   // by --namespace, so that targets have none
	agents    string // namespace of the agent
}

// Open finds the API server. It makes no request.
func (f *Flags) Open(version string) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &f.overrides)
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return nil, errors.New("find the API server: no kubeconfig: name one with --kubeconfig or $KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	c := &Cluster{config: config, given: f.NamespaceGiven(), agents: f.AgentNamespace}
	if c.namespace, _, err = loader.Namespace(); err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	c.client, err = kube.NewClient(config, version)
	return c, err
}
