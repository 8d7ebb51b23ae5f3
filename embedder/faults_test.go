package embedder_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// rig is a provider that fails by plan and an embedder of it, in virtual time.
type rig struct {
	t        *testing.T
	server   *embeddertest.Server
	service  *embedder.Service
	embedder *embedder.Embedder
}

const secret = "sk-very-secret"

func plan(t *testing.T, text string) embeddertest.Plan {
	t.Helper()
	p, err := embeddertest.ParsePlan(text)
	require.NoError(t, err)
	return p
}

// newRig asks a provider of protocol as a topic would that says v.
func newRig(t *testing.T, protocol embeddertest.Op, o embeddertest.Options, c embedder.Config, v topicconfig.Vector) *rig {
	t.Helper()
	s := embeddertest.New(o)
	c.Transport, c.APIKey, c.OpenAIBaseURL, c.TrustedEndpoints = s.Transport(), secret, s.OpenAI(), []string{"*"}
	v.Provider = string(protocol)
	if v.Endpoint = s.External(); protocol == embeddertest.OpenAI {
		v.Endpoint, v.Model = "", "a-model"
	}
	v.BatchSize, v.Concurrency = max(v.BatchSize, 1), max(v.Concurrency, 1)
	service, err := embedder.New(c)
	require.NoError(t, err)
	e, err := service.Open(v)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(service.Close(), s.Close())) })
	return &rig{t: t, server: s, service: service, embedder: e}
}

// kind is that of an error, which names no key.
func (r *rig) kind(err error) embedder.Kind {
	r.t.Helper()
	var e *embedder.Error
	require.ErrorAs(r.t, err, &e)
	require.NotContains(r.t, err.Error(), secret)
	require.NotContains(r.t, err.Error(), "secret=1")
	require.Less(r.t, len(err.Error()), 700)
	return e.Kind
}

func words(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("text %d", i)
	}
	return texts
}

func TestFaultsHaveTheirKind(t *testing.T) {
	both := []embeddertest.Op{embeddertest.OpenAI, embeddertest.External}
	for _, test := range []struct {
		fault     string
		protocols []embeddertest.Op
		kind      embedder.Kind
		temporary bool
	}{
		{"throttle", both, embedder.Throttled, true},
		{"retry-in=7s", both, embedder.Throttled, true},
		{"fail", both, embedder.Unavailable, true},
		{"back-in=1500ms", both, embedder.Unavailable, true},
		{"hang", both, embedder.Timeout, true},
		{"delay=1h", both, embedder.Timeout, true},
		{"cut", both, embedder.Unavailable, true},
		{"garbage", both, embedder.BadAnswer, true},
		{"huge", both, embedder.BadAnswer, true},
		{"half", both, embedder.BadAnswer, true},
		{"ragged", both, embedder.BadAnswer, true},
		{"nan", both, embedder.BadAnswer, true},
		{"twice", []embeddertest.Op{embeddertest.OpenAI}, embedder.BadAnswer, true},
		{"long", both, embedder.Dimensions, false},
		{"quota", both, embedder.OverQuota, false},
		{"forbid", both, embedder.WrongKey, false},
		{"no-model", both, embedder.NotFound, false},
		{"redirect", both, embedder.Redirected, false},
		{"refuse", both, embedder.Refused, false},
	} {
		for _, protocol := range test.protocols {
			t.Run(test.fault+" "+string(protocol), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					always := plan(t, "* * "+test.fault+" p=1")
					r := newRig(t, protocol, embeddertest.Options{}, embedder.Config{}, topicconfig.Vector{BatchSize: 4, RetriesMax: 2, Dimensions: 64})
					r.server.Use(always)
					v, err := r.embedder.Embed(t.Context(), words(4))
					require.Equal(t, test.kind, r.kind(err))
					require.Zero(t, v.Len())
					_, temporary := embedder.Temporary(err)
					require.Equal(t, test.temporary, temporary)
					requests := 1
					switch {
					case test.temporary:
						requests = 3
					case test.kind == embedder.Refused:
						requests = 2 // whether another text is refused too
					}
					require.Len(t, r.server.Requests(), requests)

					// Once it is over, all is well, at the latest when the circuit has closed.
					r.server.Use(embeddertest.Plan{})
					time.Sleep(2 * time.Minute)
					v, err = r.embedder.Embed(t.Context(), words(4))
					require.NoError(t, err)
					require.Equal(t, embeddertest.Vector("text 3", 64), v.At(3))

					// A query fails in the same way.
					r.server.Use(always)
					_, err = r.embedder.Query(t.Context(), "where")
					want := test.kind
					if test.fault == "ragged" {
						want = embedder.Dimensions // of its one vector
					}
					require.Equal(t, want, r.kind(err))
				})
			})
		}
	}
}

func TestFaultsThatPassAreTriedAgain(t *testing.T) {
	for _, test := range []struct {
		plan    string
		seconds [2]float64 // the time that it takes
	}{
		{"* * throttle nth=1", [2]float64{.25, .5}},
		{"* * fail nth=1; * * fail nth=1", [2]float64{.75, 1.5}},
		{"* * retry-in=7s nth=1", [2]float64{7, 7}},
		{"* * back-in=1500ms nth=1", [2]float64{1.5, 1.5}},
		{"* * hang nth=1", [2]float64{30.25, 30.5}},
		{"* * nan nth=1", [2]float64{.25, .5}},
		{"* * half nth=1; * * cut nth=1; * * garbage nth=1", [2]float64{1.75, 3.5}},
		{"openai * reorder p=1", [2]float64{0, 0}},
	} {
		t.Run(test.plan, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, embeddertest.OpenAI, embeddertest.Options{Plan: plan(t, test.plan)}, embedder.Config{}, topicconfig.Vector{BatchSize: 10, RetriesMax: 3})
				began := time.Now()
				v, err := r.embedder.Embed(t.Context(), words(10))
				require.NoError(t, err)
				took := time.Since(began).Seconds()
				require.True(t, test.seconds[0] <= took && took <= test.seconds[1], "it took %v", took)
				for i, text := range words(10) {
					require.Equal(t, embeddertest.Vector(text, 64), v.At(i))
				}
				for text, n := range r.server.Texts() {
					require.Equal(t, 1, n, text)
				}
			})
		})
	}
}

func TestAPauseHoldsForAllRequestsToTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, embeddertest.External, embeddertest.Options{Plan: plan(t, "* * retry-in=20s nth=1")}, embedder.Config{}, topicconfig.Vector{RetriesMax: 1})
		began := time.Now()
		first := make(chan error)
		go func() {
			_, err := r.embedder.Embed(t.Context(), words(1))
			first <- err
		}()
		synctest.Wait()
		_, err := r.embedder.Query(t.Context(), "where")
		require.NoError(t, err)
		require.Equal(t, 20*time.Second, time.Since(began))
		require.NoError(t, <-first)

		// One who cannot wait so long is told at once.
		r.server.Use(plan(t, "* * retry-in=20s nth=1"))
		_, err = r.embedder.Query(t.Context(), "when")
		require.NoError(t, err)
		r.server.Use(plan(t, "* * retry-in=20s p=1"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = r.embedder.Query(ctx, "why")
		require.Error(t, err)
	})
}

func TestALongPauseIsTheCallersToWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, embeddertest.External, embeddertest.Options{Plan: plan(t, "* * retry-in=5m nth=1")}, embedder.Config{}, topicconfig.Vector{RetriesMax: 3})
		began := time.Now()
		for range 3 { // and the provider is left alone meanwhile
			_, err := r.embedder.Embed(t.Context(), words(1))
			require.Equal(t, embedder.Throttled, r.kind(err))
			after, temporary := embedder.Temporary(err)
			require.True(t, temporary)
			require.Equal(t, 5*time.Minute, after)
			require.Zero(t, time.Since(began))
		}
		require.Len(t, r.server.Requests(), 1)
		time.Sleep(5 * time.Minute)
		_, err := r.embedder.Embed(t.Context(), words(1))
		require.NoError(t, err)
	})
}

func TestAProviderThatIsAwayIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, embeddertest.External, embeddertest.Options{Plan: plan(t, "* * fail p=1")}, embedder.Config{}, topicconfig.Vector{})
		began := time.Now()
		refused := 0
		for time.Since(began) < 10*time.Minute {
			_, err := r.embedder.Embed(t.Context(), words(1))
			if r.kind(err) == embedder.CircuitOpen {
				refused++
				after, temporary := embedder.Temporary(err)
				require.True(t, temporary)
				require.Positive(t, after)
				require.LessOrEqual(t, after, time.Minute)
			}
			time.Sleep(100 * time.Millisecond)
		}
		// Five, and then after 1, 2, 4, 8, 16, 32 s and every minute, each a fifth shorter at most.
		asked := len(r.server.Requests())
		require.True(t, 5+6+8 <= asked && asked <= 5+6+13, "asked %d times", asked)
		require.Greater(t, refused, 5000)

		r.server.Use(embeddertest.Plan{})
		time.Sleep(time.Minute)
		for range 3 {
			_, err := r.embedder.Embed(t.Context(), words(1))
			require.NoError(t, err)
		}
	})
}

func TestATextThatIsRefusedDoesNotHoldUpOthers(t *testing.T) {
	for _, protocol := range []embeddertest.Op{embeddertest.OpenAI, embeddertest.External} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, protocol, embeddertest.Options{Plan: plan(t, "* poison refuse p=1"), TextBytesMax: 1000}, embedder.Config{}, topicconfig.Vector{BatchSize: 64, Concurrency: 2})
			texts := words(200)
			texts[0], texts[77], texts[78] = "poison", "more poison", "poison "+strings.Repeat("that is long ", 100)
			texts[150] = strings.Repeat("loong ", 640)
			v, err := r.embedder.Embed(t.Context(), texts)
			require.NoError(t, err)
			require.Equal(t, 200, v.Len())
			require.Equal(t, 2, v.Cut) // the one that is refused for more than its length as well
			for i, text := range texts {
				switch i {
				case 0, 77, 78:
					require.Nil(t, v.At(i))
				case 150:
					require.Equal(t, embeddertest.Vector("loong", 64), v.At(i)) // 640 times, then 320, and 160
				default:
					require.Equal(t, embeddertest.Vector(text, 64), v.At(i))
				}
			}
			for text, n := range r.server.Texts() {
				if text != "chronik" {
					require.Equal(t, 1, n, text)
				}
			}
		})
	}
}

func TestWhatWasPaidForIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, embeddertest.External, embeddertest.Options{Plan: plan(t, "* * delay=1s p=1; * text_75 fail p=1")}, embedder.Config{}, topicconfig.Vector{BatchSize: 10, Concurrency: 3})
		texts := words(200)
		texts[75] = "text_75"
		v, err := r.embedder.Embed(t.Context(), texts)
		require.Equal(t, embedder.Unavailable, r.kind(err))
		require.Equal(t, 70, v.Len())
		for i := range v.Len() {
			require.Equal(t, embeddertest.Vector(texts[i], 64), v.At(i))
		}
		// Nothing more is sent: the eighth fails, and in that instant the two beside it,
		// if they are answered before it, may each be followed by another.
		require.LessOrEqual(t, len(r.server.Requests()), 7+3+1)
	})
}
