package cli

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func newHealth(e env) *cobra.Command {
	var u endpoint
	var live bool
	c := &cobra.Command{
		Use:   "health",
		Short: "Say whether a node serves, by the exit code",
		Long: `Ask a node whether it serves: 0 when it does, 1 with its reasons while it starts, waits
for etcd or the bucket, drains or stops. It is for health checks of containers, in
whose image is no curl; over HTTP the same is at /health/ready and /health/live.`,
		Example: `  chronik health
  chronik health --live --url http://broker-1:6092
  docker compose exec broker-1 chronik health`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), adminTimeout)
			defer cancel()
			path, said := "/health/ready", "ready"
			if live {
				path, said = "/health/live", "live"
			}
			if _, err := u.ask(ctx, http.MethodGet, path, http.Header{}, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), said)
			return err
		},
	}
	u.add(c, e)
	c.Flags().BoolVar(&live, "live", false, "ask only whether the process lives, ready or not")
	return c
}
