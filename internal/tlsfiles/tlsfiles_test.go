package tlsfiles_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/tlsfiles"
)

func TestFilesThatCannotSecureAConnectionAreRefused(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	require.NoError(t, os.WriteFile(noPEM, []byte("no PEM"), 0o600))
	for want, f := range map[string]tlsfiles.Files{
		"read the certificate authority of the store: open":   {CA: noPEM + ".gone"},
		"of the store: " + noPEM + " has no certificate":      {CA: noPEM},
		"a certificate for the store and its key go together": {Key: noPEM},
		"read the certificate for the store":                  {Cert: noPEM, Key: noPEM},
	} {
		_, err := tlsfiles.Load("the store", f, os.ReadFile)
		require.ErrorContains(t, err, want)
	}
}

func TestWithoutFilesTheSystemsAuthoritiesAreTrusted(t *testing.T) {
	c, err := tlsfiles.Load("the store", tlsfiles.Files{ServerName: "store.example"}, os.ReadFile)
	require.NoError(t, err)
	require.Nil(t, c.RootCAs)
	require.Nil(t, c.GetClientCertificate)
	require.Equal(t, "store.example", c.ServerName)
	require.False(t, c.InsecureSkipVerify)
}
