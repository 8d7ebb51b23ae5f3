package node

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/cmd/chronik/admin"
)

// As when the start fails, which is then the only thing to be reported.
func TestAPortThatIsStoppedBeforeItServesIsNoFailure(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for range 50 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		surface := admin.New(admin.Options{Gatherer: prometheus.NewRegistry()})
		if err := servePort(stopped, surface, slog.New(slog.DiscardHandler), []net.Listener{listener}); err != nil {
			t.Fatal(err)
		}
	}
}
