package api

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An API without a row would be answered by whichever broker a client's
// connection reaches, as if it knew everything.
func TestEveryAPIHasSomebodyWhoAnswersItBehindASharedAddress(t *testing.T) {
	table := spreads()
	for _, r := range routes() {
		s, ok := table[r.key]
		require.True(t, ok, "%s has no row", r.name)
		delete(table, r.key)
		elsewhere := s.run != nil || r.key == produceKey || r.key == fetchKey
		require.Equal(t, s.who != anyBroker, elsewhere, "%s is answered by %s", r.name, s.who)
		require.Contains(t, []who{anyBroker, owner, coordinator, everyBroker}, s.who, r.name)
	}
	require.Empty(t, table, "rows of APIs that are not served")
}
