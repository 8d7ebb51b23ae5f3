package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/chronik-stream/chronik/internal/tlsfiles"
)

// LoadTLS reads what connections to etcd are secured with.
func LoadTLS(f tlsfiles.Files) (*tls.Config, error) {
	c, err := tlsfiles.Load("etcd", f, os.ReadFile)
	if err != nil || f.ServerName == "" {
		return c, err
	}
	// The client replaces the configured name by the endpoint's host, so the
	// usual check is replaced by the same one for the right name.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error { return verify(s, c.RootCAs, f.ServerName) }
	return c, nil
}

// verify is what crypto/tls checks of a server, for a name of our choice.
func verify(s tls.ConnectionState, roots *x509.CertPool, name string) error {
	options := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, certificate := range s.PeerCertificates[1:] {
		options.Intermediates.AddCert(certificate)
	}
	_, err := s.PeerCertificates[0].Verify(options)
	return err
}
