package command

import (
	"crypto/x509"
	"fmt"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// fallbackRoots makes this program trust Mozilla's authorities, which are built in (about
// 150 KiB), where the system has none: the image has no file of certificates, and receivers
// of logs may have one of a public authority. Where the system has some, those alone count.
//
// It is for the agent, and not for all programs at their start, as the package fallback
// beside the bundle would have it: whoever sets them reads the system's first, and
// `doctor --try` executes this program in containers, whose files are not to be read.
var fallbackRoots = sync.OnceValue(func() error {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil:
			return fmt.Errorf("parse a built-in certificate: %w", err)
		case root.Constraint != nil:
			pool.AddCertWithConstraint(cert, root.Constraint)
		default:
			pool.AddCert(cert)
		}
	}
	x509.SetFallbackRoots(pool)
	return nil
})
