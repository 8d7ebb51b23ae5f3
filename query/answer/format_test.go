package answer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFormatIsTheOneThatIsAskedForMost(t *testing.T) {
	for accept, want := range map[string]Format{
		"":                                  FormatJSON,
		"*/*":                               FormatJSON,
		"application/*":                     FormatJSON,
		"text/*":                            FormatCSV,
		"application/json, text/plain, */*": FormatJSON,
		"text/csv":                          FormatCSV,
		"TEXT/CSV; charset=utf-8; q=0.3":    FormatCSV,
		"text/csv, */*":                     FormatCSV,
		"text/csv;q=0.5, */*":               FormatJSON,
		"text/csv;q=0.5, application/json":  FormatJSON,
		"text/csv;q=0.5, application/json;q=0.4, application/x-ndjson;q=0.6": FormatNDJSON,
		"application/x-ndjson, text/csv":                                     FormatNDJSON,
		"text/csv, application/x-ndjson":                                     FormatCSV,
		"application/json;q=0, */*":                                          FormatNDJSON,
		"application/vnd.apache.arrow.stream, application/json;q=0.9":        FormatArrow,
		"text/html, text/csv;q=0.1":                                          FormatCSV,
	} {
		got, ok := Negotiate([]string{accept})
		require.True(t, ok, accept)
		require.Equal(t, want, got, accept)
	}
	for _, accept := range []string{"text/html", "application/json;q=0", "*/*;q=0", "image/*, text/xml", "nonsense"} {
		_, ok := Negotiate([]string{accept})
		require.False(t, ok, accept)
	}
	got, ok := Negotiate([]string{"text/html", "text/csv"}) // two headers
	require.True(t, ok)
	require.Equal(t, FormatCSV, got)
}
