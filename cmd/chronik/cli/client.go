package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	defaultBootstrap = "127.0.0.1:9092"
	defaultURL       = "http://127.0.0.1:6092"
	// adminTimeout bounds commands that ask a question and print the answer.
	adminTimeout = 30 * time.Second
	dialTimeout  = 5 * time.Second
)

// bootstrap is the --bootstrap flag.
type bootstrap struct{ addresses string }

func (b *bootstrap) add(c *cobra.Command, e env) {
	c.PersistentFlags().StringVarP(&b.addresses, "bootstrap", "b", e.variable("CHRONIK_BOOTSTRAP", defaultBootstrap),
		"Kafka address to start from, or a comma list (CHRONIK_BOOTSTRAP)")
}

// client makes a Kafka client. It connects on first use.
func (b *bootstrap) client(options ...kgo.Opt) (*kgo.Client, error) {
	var seeds []string
	for address := range strings.SplitSeq(b.addresses, ",") {
		if address = strings.TrimSpace(address); address != "" {
			seeds = append(seeds, address)
		}
	}
	if len(seeds) == 0 {
		return nil, usagef("--bootstrap is empty")
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID("chronik-cli"),
		kgo.DialTimeout(dialTimeout),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, options...)...)
	if err != nil {
		return nil, usagef("--bootstrap %s: %w", b.addresses, err) // all other options are ours
	}
	return client, nil
}

// admin runs f with an admin client and a deadline.
func (b *bootstrap) admin(ctx context.Context, f func(context.Context, *kadm.Client) error) error {
	return b.connected(ctx, func(ctx context.Context, client *kgo.Client) error { return f(ctx, kadm.NewClient(client)) })
}

// connected runs f with a client that has reached the cluster, and a deadline.
func (b *bootstrap) connected(ctx context.Context, f func(context.Context, *kgo.Client) error) error {
	client, err := b.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if err := b.reachable(ctx, client); err != nil {
		return err
	}
	return b.explain(f(ctx, client))
}

// reachable fails at once where the client would go on trying: when nobody
// listens.
func (b *bootstrap) reachable(ctx context.Context, client *kgo.Client) error {
	if err := client.Ping(ctx); err != nil {
		return b.explain(err)
	}
	return nil
}

// explain adds to a failure what the user can do about it.
func (b *bootstrap) explain(err error) error {
	var dial *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &dial), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from Kafka at %s: %w (is `chronik dev` running? --bootstrap names another address)", b.addresses, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w (`chronik topic list` shows the topics that there are)", err)
	case errors.Is(err, kerr.GroupIDNotFound):
		return fmt.Errorf("%w (`chronik group list` shows the groups that there are)", err)
	}
	return err
}

// because prefers the broker's own words over the error code's description.
func because(err error, message string) error {
	if err == nil || message == "" || message == err.Error() {
		return err
	}
	var code *kerr.Error
	if errors.As(err, &code) {
		return fmt.Errorf("%s: %s", code.Message, message)
	}
	return fmt.Errorf("%w: %s", err, message)
}

// endpoint is the --url flag.
type endpoint struct {
	url  string
	http *http.Client // nil: a new one for each request
}

func (u *endpoint) add(c *cobra.Command, e env) {
	c.PersistentFlags().StringVar(&u.url, "url", e.variable("CHRONIK_URL", defaultURL), "HTTP address (CHRONIK_URL)")
}

// to is the URL of a path there. Without a scheme, as in localhost:6092, it is
// http's.
func (u *endpoint) to(path string) string {
	base := strings.TrimSuffix(u.url, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return base + path
}

// ask sends a request there and returns the body of an answer of 200.
func (u *endpoint) ask(ctx context.Context, method, path string, header http.Header, body []byte) ([]byte, error) {
	response, err := u.open(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return text, nil
}

// open sends a request there and returns an answer of 200, whose body the caller
// reads and closes.
func (u *endpoint) open(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, u.to(path), bytes.NewReader(body))
	if err != nil {
		return nil, usagef("--url %s: %v", u.url, err)
	}
	request.Header = header
	client := u.http
	if client == nil {
		client = httpClient(1)
	}
	response, err := client.Do(request)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) {
			return nil, fmt.Errorf("no answer over HTTP at %s: %w (is `chronik dev` running? --url names another address)", u.url, err)
		}
		return nil, fmt.Errorf("ask %s: %w", u.url, err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, refusalBytesMax))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return nil, refusal(response.Status, text)
}

// refusalBytesMax bounds what is read of an answer that is none.
const refusalBytesMax = 1 << 20

// refusal makes an error of the API's error envelope, of Elasticsearch's, or of a
// node's reasons not to serve.
func refusal(status string, body []byte) error {
	var envelope struct {
		Error string `json:"error"`
		Code  string `json:"error_code"`
	}
	if json.Unmarshal(body, &envelope) == nil && envelope.Error != "" {
		return fmt.Errorf("%s: %s", envelope.Code, envelope.Error)
	}
	var search struct {
		Error struct {
			Causes []struct{ Type, Reason string } `json:"root_cause"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &search) == nil && len(search.Error.Causes) > 0 {
		return fmt.Errorf("%s: %s", search.Error.Causes[0].Type, search.Error.Causes[0].Reason)
	}
	var health struct {
		Status  string   `json:"status"`
		Reasons []string `json:"reasons"`
	}
	if json.Unmarshal(body, &health) == nil && len(health.Reasons) > 0 {
		return fmt.Errorf("%s: %s", health.Status, strings.Join(health.Reasons, "; "))
	}
	return fmt.Errorf("%s: %.500s", status, bytes.TrimSpace(body))
}

// httpClient keeps so many connections. It has no timeout of its own: requests
// carry a context with one.
func httpClient(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		MaxIdleConns:        connections,
		MaxIdleConnsPerHost: connections,
	}}
}
