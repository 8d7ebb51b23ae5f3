package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFiles name what a connection to etcd is secured with. All are PEM.
type TLSFiles struct {
	CA         string // authority of the servers' certificates; empty: the system's
	Cert, Key  string // of the client; empty: it shows none
	ServerName string // that the servers' certificates are for; empty: the endpoint's host
}

// LoadTLS reads them. The client's certificate is read again at each
// connection, so a renewed one needs no restart.
func LoadTLS(f TLSFiles) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority of etcd: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the certificate authority of etcd: %s has no certificate", f.CA)
		}
	}
	if f.ServerName != "" {
		// The client replaces the configured name by the endpoint's host, so the
		// usual check is replaced by the same one for the right name.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error { return verify(s, c.RootCAs, f.ServerName) }
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("a certificate for etcd and its key go together")
	}
	if f.Cert != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			if err != nil {
				return nil, fmt.Errorf("read the certificate for etcd: %w", err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
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
