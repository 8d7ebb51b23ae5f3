package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/cmd/chronik/admin"
	"github.com/chronik-stream/chronik/metastore"
)

// adminClient speaks to the admin API.
type adminClient struct {
	endpoint
	key string
}

func newCluster(e env) *cobra.Command {
	var a adminClient
	c := group("cluster", "See how the cluster is, and drain its brokers", `See how the cluster is, and drain its brokers. Any node answers, over HTTP.`,
		newClusterStatus(&a), newClusterDrain(&a))
	a.add(c, e)
	c.PersistentFlags().StringVar(&a.key, "api-key", e.variable("CHRONIK_ADMIN_API_KEY", ""), "what the nodes have as admin.api_key (CHRONIK_ADMIN_API_KEY)")
	return c
}

func newClusterStatus(a *adminClient) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, and partitions with their leaders, epochs and marks",
		Long: `Show the live nodes with their roles, and every partition: who leads it, under which
epoch, where its log starts, up to where it can be read (high), is committed in the
bucket (flushed), is in Parquet files (columnar), in the full-text index (text) and
has its vectors (vector). Offsets are the first ones not there yet.`,
		Example: `  chronik cluster status
  chronik cluster status --url http://chronik-query:6092 -o json | jq '.partitions[] | select(.leader < 0)'`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), adminTimeout)
			defer cancel()
			status, body, err := a.status(ctx)
			if err != nil {
				return err
			}
			if output == "json" {
				_, err := fmt.Fprintf(c.OutOrStdout(), "%s\n", bytes.TrimSpace(body))
				return err
			}
			return writeStatus(c.OutOrStdout(), c.ErrOrStderr(), status, time.Now())
		},
	}
	addOutput(c, &output, "table", "json")
	return c
}

// do sends a request to the admin API and returns the body of an answer of 200.
func (a *adminClient) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	header := http.Header{}
	if a.key != "" {
		header.Set("X-API-Key", a.key)
	}
	return a.ask(ctx, method, path, header, body)
}

func (a *adminClient) status(ctx context.Context) (admin.Status, []byte, error) {
	body, err := a.do(ctx, http.MethodGet, "/admin/status", nil)
	if err != nil {
		return admin.Status{}, nil, err
	}
	var status admin.Status
	if err := json.Unmarshal(body, &status); err != nil {
		return admin.Status{}, nil, fmt.Errorf("read the answer: %w", err)
	}
	return status, body, nil
}

func writeStatus(out, notes io.Writer, s admin.Status, now time.Time) error {
	nodes := newTable("role", "node", "address", "rack", "version", ">up", ">leads", ">coordinates", "")
	for _, n := range s.Nodes {
		draining := ""
		if n.Draining {
			draining = "draining"
		}
		nodes.add(n.Role, n.NodeID, n.Address, n.Rack, n.Version, now.Sub(n.StartedAt).Round(time.Second), shownCount(n.Partitions), shownCount(n.Slots), draining)
	}
	if err := nodes.write(out); err != nil {
		return err
	}
	if len(s.Partitions) > 0 {
		partitions := newTable("topic", ">partition", ">leader", ">epoch", ">start", ">high", ">flushed", ">columnar", ">text", ">vector")
		for _, p := range s.Partitions {
			leader, high := p.Leader.String(), "?"
			if p.Leader == metastore.NoBroker {
				leader = "none"
			}
			if p.HighWatermark != nil {
				high = strconv.FormatInt(*p.HighWatermark, 10)
			}
			partitions.add(p.Topic, p.Partition, leader, p.LeaderEpoch, p.LogStart, high, p.Flushed, p.Columnar, p.Text, p.Vector)
		}
		fmt.Fprintln(out)
		if err := partitions.write(out); err != nil {
			return err
		}
	}
	for _, id := range s.BrokersDraining {
		if !slices.ContainsFunc(s.Nodes, func(n admin.NodeStatus) bool { return n.Role == "broker" && fmt.Sprint(n.NodeID) == id.String() }) {
			fmt.Fprintf(notes, "broker %d, which does not live, is set to drain: it will take nothing when it comes back\n", id)
		}
	}
	for _, warning := range s.Warnings {
		fmt.Fprintln(notes, "warning:", warning)
	}
	return nil
}

func shownCount(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func newClusterDrain(a *adminClient) *cobra.Command {
	var cancel, wait bool
	var within time.Duration
	c := &cobra.Command{
		Use:   "drain NODE",
		Short: "Make a broker hand over what it has, so that it may be stopped",
		Long: `Make a broker hand its partitions and coordinators over to the others, one flush and a
few transactions, and take none from then on, also after a restart, until --cancel.
A broker that is stopped (SIGTERM) hands over by itself; draining is for taking one
out for longer, or out of use before a risky change.`,
		Example: `  chronik cluster drain 2 --wait      # returns when broker 2 leads nothing
  chronik cluster drain 2 --cancel    # it takes partitions again`,
		Args: exactly("the broker's number"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 32)
			if err != nil || id < 0 {
				return usagef("%s is no broker's number; `chronik cluster status` shows them (compactors and query nodes hold nothing: stop them)", args[0])
			}
			if cancel && wait {
				return usagef("--wait is for draining, not for --cancel")
			}
			return a.drain(c, metastore.BrokerID(id), cancel, wait, within)
		},
	}
	c.Flags().BoolVar(&cancel, "cancel", false, "end the draining")
	c.Flags().BoolVar(&wait, "wait", false, "wait until the broker leads and coordinates nothing")
	c.Flags().DurationVar(&within, "timeout", 5*time.Minute, "most time to wait")
	return c
}

func (a *adminClient) drain(c *cobra.Command, id metastore.BrokerID, cancelled, wait bool, within time.Duration) error {
	body, err := json.Marshal(map[string]any{"node_id": id, "cancel": cancelled})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), adminTimeout)
	defer cancel()
	answer, err := a.do(ctx, http.MethodPost, "/admin/drain", body)
	if err != nil {
		return err
	}
	var said struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintln(c.OutOrStdout(), said.Message)
	if !wait {
		return nil
	}
	waiting, stop := context.WithTimeout(c.Context(), within)
	defer stop()
	return a.untilDrained(waiting, c, id)
}

// untilDrained asks again and again until a broker holds nothing.
func (a *adminClient) untilDrained(ctx context.Context, c *cobra.Command, id metastore.BrokerID) error {
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		status, _, err := a.status(ctx)
		held := 0
		for _, n := range status.Nodes {
			if n.Role == "broker" && fmt.Sprint(n.NodeID) == id.String() && n.Partitions != nil && n.Slots != nil {
				held = *n.Partitions + *n.Slots
			}
		}
		if err == nil && held == 0 {
			fmt.Fprintf(c.OutOrStdout(), "broker %d holds nothing any more\n", id)
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("wait for broker %d: %w", id, err)
			}
			return fmt.Errorf("broker %d still holds %d partitions and coordinator slots: %w", id, held, ctx.Err())
		}
	}
}
