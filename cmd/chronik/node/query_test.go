package node

import (
	"testing"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

func TestAQueryNodeIsReachedWhereItSays(t *testing.T) {
	for _, c := range []struct{ bind, advertised, want string }{
		{"10.0.0.1", "", "10.0.0.1:7000"},
		{"", "", "machine:7000"},
		{"", "query-1.svc", "query-1.svc:7000"},
		{"10.0.0.1", "balanced:6092", "balanced:6092"},
	} {
		cfg, err := config.Load(config.Inputs{Hostname: "machine", Flags: []config.Flag{
			{Key: "http.bind", Value: c.bind}, {Key: "query.advertised", Value: c.advertised},
		}})
		if err != nil {
			t.Fatal(err)
		}
		n := &Node{cfg: cfg, httpPort: 7000}
		if got := n.queryAddress(); got != c.want {
			t.Errorf("bound to %q, advertised %q: %s, want %s", c.bind, c.advertised, got, c.want)
		}
	}
}
