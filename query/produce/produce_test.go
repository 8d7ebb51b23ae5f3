package produce_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/query/elastic"
	"github.com/chronik-stream/chronik/query/produce"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var records = []elastic.Record{{Topic: "a", Value: []byte("{}")}, {Topic: "b", Value: []byte("{}")}}

// writeErrors are outcomes that tell what became of a record.
var writeErrors = []error{elastic.ErrUnknownTopic, elastic.ErrTooLarge, elastic.ErrRefused, elastic.ErrForbidden, elastic.ErrThrottled, elastic.ErrUnavailable}

func TestWithoutBrokersNothingIsWrittenAndThatIsKnown(t *testing.T) {
	p := produce.New(produce.Options{Seeds: func() []string { return nil }})
	for _, o := range p.Produce(t.Context(), records) {
		require.ErrorIs(t, o.Err, elastic.ErrUnavailable)
	}
	require.ErrorIs(t, p.CreateTopic(t.Context(), "a", 0, nil), elastic.ErrUnavailable)
	p.Close()
	p.Close()
	require.ErrorIs(t, p.DeleteTopic(t.Context(), "a"), elastic.ErrUnavailable)
}

// A broker that takes connections and never answers.
func TestOfARecordThatNobodyAnsweredForNothingIsKnown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	came := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			select {
			case came <- struct{}{}:
			default:
			}
		}
	}()
	p := produce.New(produce.Options{Seeds: func() []string { return []string{listener.Addr().String()} }})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-came
		cancel()
	}()
	for _, o := range p.Produce(ctx, records) {
		require.Error(t, o.Err)
		for _, known := range writeErrors {
			require.False(t, errors.Is(o.Err, known), "%v", o.Err)
		}
	}
	p.Close()
	require.NoError(t, listener.Close())
	<-done
}
