// Package tlsfiles reads what the connections of a client are secured with.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// Files name it. All are PEM.
type Files struct {
	CA         string // authority of the servers' certificates; empty: the system's
	Cert, Key  string // of the client; empty: it shows none
	ServerName string // that the servers' certificates are for; empty: the address's host
}

// Load reads the files, by os.ReadFile, for connections to a service, which errors
// name. The client's certificate is read again at each connection, so a renewed
// one needs no restart.
func Load(service string, f Files, read func(name string) ([]byte, error)) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName}
	if f.CA != "" {
		pem, err := read(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority of %s: %w", service, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the certificate authority of %s: %s has no certificate", service, f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, fmt.Errorf("a certificate for %s and its key go together", service)
	}
	if f.Cert != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := pair(f, read)
			if err != nil {
				return nil, fmt.Errorf("read the certificate for %s: %w", service, err)
			}
			return pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return c, nil
}

// pair reads the client's certificate and its key.
func pair(f Files, read func(name string) ([]byte, error)) (*tls.Certificate, error) {
	cert, err := read(f.Cert)
	if err != nil {
		return nil, err
	}
	key, err := read(f.Key)
	if err != nil {
		return nil, err
	}
	p, err := tls.X509KeyPair(cert, key)
	return &p, err
}
