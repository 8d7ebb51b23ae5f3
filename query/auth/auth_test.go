package auth_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/auth"
)

func TestAnAuthorizationHeaderIsBasicOrBearer(t *testing.T) {
	padded := base64.StdEncoding.EncodeToString([]byte("ann:a:b cd"))
	raw := base64.RawStdEncoding.EncodeToString([]byte("ann:a:b cd"))
	require.NotEqual(t, padded, raw)
	for header, want := range map[string]auth.Credentials{
		"":                  {},
		"Basic " + padded:   {User: "ann", Password: "a:b cd"},
		"basic  " + raw:     {User: "ann", Password: "a:b cd"},
		"Bearer t.o/k=en":   {Token: "t.o/k=en"},
		"bearer a b ":       {Token: "a b"},
		"Basic Og==":        {},
		"  Bearer  x":       {Token: "x"},
		"BEARER " + "1 2 3": {Token: "1 2 3"},
	} {
		got, err := auth.ParseHeader(header)
		require.NoError(t, err, header)
		require.Equal(t, want, got, header)
	}
	for _, header := range []string{"Basic", "Basic !", "Basic " + base64.StdEncoding.EncodeToString([]byte("nocolon")), "Bearer", "Bearer ", "Digest x", " "} {
		_, err := auth.ParseHeader(header)
		require.ErrorIs(t, err, auth.ErrUnauthenticated, "%q", header)
	}
}
