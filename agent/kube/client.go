package kube

import (
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// What to do about Kubernetes.
const (
	Auto = "auto" // ask the API server if there is one to be found
	On   = "on"
	Off  = "off"
)

// requestTime bounds every request but a watch, once it has begun.
const requestTime = 30 * time.Second

// ErrNone: there is no API server to be found, and nobody insists on one.
var ErrNone = errors.New("no Kubernetes API server: neither the key kubeconfig, nor the variables that Kubernetes sets in a pod")

// configOf finds the API server: by a kubeconfig, or as a pod.
func configOf(o Options) (*rest.Config, error) {
	if o.Kubeconfig == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return nil, ErrNone
	}
	if o.Node == "" {
		return nil, errors.New("key node-name: want the name of this node in Kubernetes, or the variable NODE_NAME, set from the pod's field spec.nodeName")
	}
	if o.Kubeconfig == "" {
		c, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("find the API server as a pod: %w: mount the service account's token", err)
		}
		return c, nil
	}
	c, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return c, nil
}

// NewClient returns a client of the core group alone: those of all groups, as
// package kubernetes has them, would add a third to the binary.
func NewClient(c *rest.Config, version string) (*rest.RESTClient, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	c = rest.CopyConfig(c)
	c.APIPath, c.GroupVersion = "/api", &corev1.SchemeGroupVersion
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.UserAgent = "eyas/" + version
	c.WarningHandler = rest.NoWarnings{}
	c.QPS, c.Burst = 5, 10
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return client, nil
}
