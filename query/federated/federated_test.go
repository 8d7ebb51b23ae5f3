package federated_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/federated"
	"github.com/chronik-stream/chronik/query/hybrid/hybridtest"
)

var (
	partition = arrow.Field{Name: "_partition", Type: arrow.PrimitiveTypes.Int32, Nullable: true}
	offset    = arrow.Field{Name: "_offset", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	timestamp = arrow.Field{Name: "_timestamp", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true}
	amount    = arrow.Field{Name: "amount", Type: arrow.PrimitiveTypes.Float64, Nullable: true}
	topicName = arrow.Field{Name: "_topic", Type: arrow.BinaryTypes.String}
)

func TestWhatAllBackendsFindIsOneRanking(t *testing.T) {
	w := serve(t)
	w.rows = rowsOf(t, "ads", `[{"_partition":0,"_offset":3},{"_partition":1,"_offset":1}]`, partition, offset)
	w.log["notes"] = fetched(0, "the car is broken", "nothing of that kind")
	r := w.ask(`{"sources":[{"topic":"ads","modes":["text","vector","sql"]},{"topic":"notes","modes":["text","fetch"]}],
		"q":{"text":"car","semantic":"automobile","sql":"SELECT * FROM ads","fetch":{"offset":0}},"k":4}`)
	require.NotEmpty(t, r.ID)
	require.Len(t, r.Results, 4)
	require.Equal(t, 2+7+2+1+2, r.Stats.Candidates)
	require.Equal(t, 7+2, r.Stats.Ranked)
	first := r.Results[0]
	require.Equal(t, "ads", first.Topic)
	require.EqualValues(t, 3, first.Offset)
	require.Equal(t, "car", first.Preview)
	require.EqualValues(t, 3, first.Features["source_count"])
	require.InDelta(t, 1/(60+first.Features["text_rank"])+1/(60+first.Features["vector_rank"])+1/61.0, first.Final, 1e-12)
	require.Equal(t, first.Features["rrf_score"], first.Final)
	require.Contains(t, first.Features, "vector_distance")
	require.Contains(t, first.Features, "text_score")
	require.EqualValues(t, 1, first.Features["sql_rank"])
	require.NotContains(t, first.Features, "sql_score")
	for i, one := range r.Results[1:] {
		require.LessOrEqual(t, one.Final, r.Results[i].Final)
		require.NotEmpty(t, one.Preview)
	}
	require.Empty(t, r.Grouped)
	require.Empty(t, r.Warnings)
	var backends []string
	for _, b := range r.Stats.Backends {
		backends = append(backends, b.Topic+" "+b.Backend)
		require.NotNil(t, b.Coverage)
		require.False(t, b.TimedOut)
	}
	require.Equal(t, []string{"ads text", "ads vector", "ads sql", "notes text", "notes fetch"}, backends)
	require.EqualValues(t, 5, r.Stats.Backends[4].Coverage.LagRecords)
	require.Equal(t, []string{"SELECT * FROM ads latest ann"}, w.opened)
	require.Equal(t, []fetchCall{{"notes", nil, 0, 1 << 20}}, w.asked)
	require.Equal(t, "latest", w.Texts[0].Freshness)
	require.Equal(t, "available", w.Requests[0].Freshness)
	require.Equal(t, 5*time.Second, w.Requests[0].Timeout)
	require.Equal(t, 100, w.Requests[0].K)
}

func TestGroupedShowsWhatEachBackendFound(t *testing.T) {
	w := serve(t)
	w.rows = rowsOf(t, "ads", `[{"_offset":2,"amount":7.5,"_partition":0}]`, offset, amount, partition)
	r := w.ask(`{"sources":[{"topic":"ads","modes":["sql","vector"]}],"q":{"text":"car","sql":"SELECT"},"k":3,"result_format":"grouped","freshness":"cold"}`)
	require.Len(t, r.Grouped, 2)
	require.Equal(t, "sql", r.Grouped[0].Backend)
	require.Len(t, r.Grouped[0].Results, 1)
	require.Equal(t, map[string]any{"_offset": 2.0, "amount": 7.5, "_partition": 0.0}, r.Grouped[0].Results[0].Row)
	require.Equal(t, "purchase an automobile", r.Grouped[0].Results[0].Preview)
	require.Len(t, r.Grouped[1].Results, 3)
	require.NotNil(t, r.Grouped[1].Results[0].Score)
	require.NotNil(t, r.Grouped[1].Results[0].Timestamp)
	require.NotEmpty(t, r.Grouped[1].Results[2].Preview)
	require.Len(t, r.Results, 3)
	require.Equal(t, []string{"SELECT cold ann"}, w.opened)
	require.Equal(t, "cold", w.Requests[0].Freshness)
}

func TestRowsThatAreShownAreBounded(t *testing.T) {
	w := serve(t)
	s := federated.Searcher{Backends: federated.Backends{Text: w.TextSide(), Vectors: w, SQL: w, Log: w}, RowBytes: 50}
	ask := func(k int) error {
		w.rows = rowsOf(t, "ads", `[{"_partition":0,"_offset":1},{"_partition":0,"_offset":2},{"_partition":0,"_offset":3}]`, partition, offset)
		_, err := s.Search(t.Context(), federated.Request{
			Sources: []federated.Source{{Topic: "ads", Modes: []federated.Mode{federated.SQL}}}, SQL: "SELECT", K: k, Timeout: time.Minute, Grouped: true,
		})
		return err
	}
	require.NoError(t, ask(1), "of the others only where they are is kept")
	var large *envelope.Failure
	require.ErrorAs(t, ask(3), &large)
	require.Equal(t, "TOO_LARGE", large.Code)
}

func TestPreviewsDoNotDependOnWhoFoundARecord(t *testing.T) {
	w := serve(t)
	raw := "{as it lies in the log}"
	w.log["ads"] = fetched(0, raw, raw, raw, raw, raw)
	w.log["notes"] = fetched(0, raw)
	r := w.ask(`{"sources":[{"topic":"ads","modes":["vector","fetch"]},{"topic":"notes","modes":["fetch"]}],"q":{"semantic":"car","fetch":{"offset":0}}}`)
	previews := map[string]map[string]bool{}
	for _, one := range r.Results {
		if one.Partition != 0 {
			continue
		}
		if previews[one.Topic] == nil {
			previews[one.Topic] = map[string]bool{}
		}
		previews[one.Topic][one.Preview] = true
	}
	require.Equal(t, map[string]map[string]bool{
		"ads":   {"buy a car": true, "a bicycle in blue": true, "purchase an automobile": true, "car": true, raw: true /* not committed yet */},
		"notes": {raw: true},
	}, previews)
}

func TestFiltersHoldForEveryBackend(t *testing.T) {
	w := serve(t)
	w.rows = rowsOf(t, "ads", `[{"_partition":0,"_offset":1,"_timestamp":"2026-11-23T12:00:01Z"},{"_partition":0,"_offset":3,"_timestamp":"2026-11-23T12:00:03Z"},
		{"_partition":1,"_offset":1,"_timestamp":"2026-11-23T12:00:01Z"},{"_partition":0,"_offset":2,"_timestamp":null}]`, partition, offset, timestamp)
	w.log["ads"] = fetched(0, "buy a car", "a bicycle in blue", "purchase an automobile", "car")
	r := w.ask(`{"sources":[{"topic":"ads","modes":["text","vector","sql","fetch"]}],"q":{"text":"a car bicycle automobile","sql":"SELECT","fetch":{"offset":0,"max_bytes":99}},
		"filters":{"timestamp_gte":"2026-11-23T12:00:01Z","timestamp_lte":1795435202000,"partitions":[0]},"result_format":"grouped"}`)
	require.Equal(t, hybridtest.Timestamp(2), int64(1795435202000))
	for _, one := range r.Results {
		require.Contains(t, []int64{1, 2}, one.Offset)
		require.Zero(t, one.Partition)
	}
	require.Len(t, r.Results, 2)
	for i, want := range []int{2, 2, 1, 2} {
		require.Equal(t, want, r.Stats.Backends[i].Candidates, r.Stats.Backends[i].Backend)
	}
	require.Equal(t, []fetchCall{{"ads", []int32{0}, 0, 99}}, w.asked)

	w.ask(`{"sources":[{"topic":"ads","modes":["fetch"]}],"q":{"fetch":{"offset":7,"partition":1}},"filters":{"partitions":[0]}}`)
	require.Equal(t, fetchCall{"ads", []int32{1}, 7, 1 << 20}, w.asked[1])
}

func TestAFreshRecordIsMovedUpWhereThatIsAskedFor(t *testing.T) {
	w := serve(t)
	w.log["ads"] = fetched(0, "old", "new")
	w.log["ads"][0].Records[0].Timestamp = hybridtest.Began.Add(-240 * time.Hour).UnixMilli()
	s := federated.Searcher{Backends: federated.Backends{Text: w.TextSide(), Vectors: w, SQL: w, Log: w}, Now: func() time.Time { return hybridtest.Began.Add(24 * time.Hour) }}
	ask := func(profile string) []federated.Result {
		var profiles []federated.Profile
		require.Equal(t, 200, w.do("GET", "/_query/profiles", "", &profiles))
		r := federated.Request{Sources: []federated.Source{{Topic: "ads", Modes: []federated.Mode{federated.Fetch}}}, Fetch: &federated.Range{BytesMax: 1}, K: 10, Timeout: time.Minute}
		for _, p := range profiles {
			if p.Name == profile {
				r.Profile = p
			}
		}
		require.NotEmpty(t, r.Profile.Name)
		a, err := s.Search(t.Context(), r)
		require.NoError(t, err)
		return a.Results
	}
	byRank, byAge := ask("default"), ask("freshness")
	require.Equal(t, "old", byRank[0].Preview, "what was read is shown")
	require.Zero(t, w.ReadRecords)
	require.EqualValues(t, 0, byRank[0].Offset)
	require.EqualValues(t, 1, byAge[0].Offset)
	require.InDelta(t, 0.5, byAge[0].Features["freshness"], 1e-4)
	require.InDelta(t, 1/62.0+0.5/61, byAge[0].Score, 1e-6)
	require.Less(t, byAge[1].Features["freshness"], 0.001)
}

func TestABackendThatIsTooSlowIsLeftOutAndNamed(t *testing.T) {
	w := serve(t)
	w.late = true
	r := w.ask(`{"sources":[{"topic":"ads","modes":["text","sql"]}],"q":{"text":"car","sql":"SELECT"},"timeout_ms":60000}`)
	require.Len(t, r.Results, 2)
	require.True(t, r.Stats.Backends[1].TimedOut)
	require.False(t, r.Stats.Backends[0].TimedOut)
	require.Nil(t, r.Stats.Backends[1].Coverage)
	require.Len(t, r.Warnings, 1)
	require.Contains(t, r.Warnings[0], "mode sql of topic ads was not done within 1m0s")

	w.late, w.hang = false, true
	require.Equal(t, "TIMEOUT", w.refused(504, `{"sources":[{"topic":"ads","modes":["sql"]}],"q":{"sql":"SELECT"},"timeout_ms":20}`).Code)
}

func TestABackendThatFailsIsNamed(t *testing.T) {
	w := serve(t)
	r := w.refused(400, `{"sources":[{"topic":"ads","modes":["text","sql"]}],"q":{"text":"car","sql":"SELEKT"}}`)
	require.Equal(t, "INVALID_QUERY", r.Code)
	require.Equal(t, "mode sql of topic ads: it cannot be parsed", r.Error)
	require.Equal(t, map[string]any{"backend": "sql", "topic": "ads"}, r.Details)
	require.Equal(t, "FEATURE_DISABLED", w.refused(400, `{"sources":[{"topic":"notes","modes":["vector"]}],"q":{"text":"car"}}`).Code)
	require.Equal(t, "TOPIC_NOT_FOUND", w.refused(404, `{"sources":[{"topic":"gone","modes":["text"]}],"q":{"text":"car"}}`).Code)
	w.Fail = func(context.Context, string) error { return errors.New("broken") }
	require.Equal(t, "INTERNAL_ERROR", w.refused(500, `{"sources":[{"topic":"ads","modes":["text"]}],"q":{"text":"car"}}`).Code)
}

func TestRowsThatAreNoRecordsAreRefused(t *testing.T) {
	w := serve(t)
	ask := `{"sources":[{"topic":"ads","modes":["sql"]}],"q":{"sql":"SELECT"}}`
	timed := `{"sources":[{"topic":"ads","modes":["sql"]}],"q":{"sql":"SELECT"},"filters":{"timestamp_gte":1}}`
	for _, refused := range []struct {
		rows *rows
		body string
		want string
	}{
		{rowsOf(t, "ads", `[{"amount":1}]`, amount), ask, "has to select _partition and _offset"},
		{rowsOf(t, "ads", `[{"_offset":1}]`, offset), ask, "has to select _partition and _offset"},
		{rowsOf(t, "ads", `[{"_partition":0,"_offset":null}]`, partition, offset), ask, "is null"},
		{rowsOf(t, "ads", `[{"_partition":0,"_offset":1.5}]`, partition, arrow.Field{Name: "_offset", Type: arrow.PrimitiveTypes.Float64}), ask, "have to be int32 and int64"},
		{rowsOf(t, "ads", `[{"_topic":"notes","_partition":0,"_offset":1}]`, topicName, partition, offset), ask, "a row of topic notes"},
		{rowsOf(t, "notes", `[{"_partition":0,"_offset":1}]`, partition, offset), ask, "sql does not read topic ads"},
		{rowsOf(t, "ads", `[{"_partition":0,"_offset":1}]`, partition, offset), timed, "has to select _timestamp"},
	} {
		w.rows = refused.rows
		r := w.refused(400, refused.body)
		require.Equal(t, "INVALID_REQUEST", r.Code)
		require.Contains(t, r.Error, refused.want)
		require.True(t, refused.rows.closed)
	}
}

func TestWhatCannotBeMeantIsRefusedByName(t *testing.T) {
	w := serve(t)
	text := `"sources":[{"topic":"ads","modes":["text"]}],"q":{"text":"car"}`
	for members, want := range map[string]string{
		`"sources":[]`:                                                                              "sources has 0 topics",
		`"sources":[{"modes":["text"]}]`:                                                            "a source has no topic",
		`"sources":[{"topic":"ads","modes":[]}]`:                                                    "topic ads has no modes",
		`"sources":[{"topic":"ads","modes":["texts"]}]`:                                             `the mode "texts"`,
		`"sources":[{"topic":"ads","modes":["text","text"]}]`:                                       "the mode text twice",
		`"sources":[{"topic":"ads","modes":["text"]},{"topic":"ads","modes":["sql"]}]`:              "in sources twice",
		`"sources":[{"topic":"ads","modes":["sql"]},{"topic":"b","modes":["sql"]}],"q":{"sql":"S"}`: "mode sql has 2 topics",
		`"sources":[{"topic":"ads","modes":["text"]}]`:                                              "q.text is required",
		`"sources":[{"topic":"ads","modes":["vector"]}]`:                                            "q.semantic, or q.text, is required",
		`"sources":[{"topic":"ads","modes":["sql"]}]`:                                               "q.sql is required",
		`"sources":[{"topic":"ads","modes":["fetch"]}]`:                                             "q.fetch.offset is required",
		`"sources":[{"topic":"ads","modes":["fetch"]}],"q":{"fetch":{"offset":-1}}`:                 "below 0",
		`"sources":[{"topic":"ads","modes":["fetch"]}],"q":{"fetch":{"offset":1,"max_bytes":0}}`:    "q.fetch.max_bytes is 0",
		`"sources":[{"topic":"ads","modes":["text"]}],"q":{"text":"a","semantic":"b"}`:              "q.semantic is given, and no source has the mode vector",
		`"sources":[{"topic":"ads","modes":["fetch"]}],"q":{"text":"a","fetch":{"offset":1}}`:       "q.text is given",
		`"sources":[{"topic":"ads","modes":["text"]}],"q":{"text":"a","sql":"b"}`:                   "q.sql is given",
		`"sources":[{"topic":"ads","modes":["text"]}],"q":{"text":"a","fetch":{"offset":1}}`:        "q.fetch is given",
		text + `,"k":0`:                                           "k is 0",
		text + `,"k":1001`:                                        "k is 1001",
		text + `,"timeout_ms":0`:                                  "timeout_ms is 0",
		text + `,"rank":{"profile":"best"}`:                       `rank.profile is "best", there are default, freshness`,
		text + `,"rank":{"weights":{}}`:                           `unknown field "weights"`,
		text + `,"result_format":"flat"`:                          `result_format is "flat"`,
		text + `,"freshness":"new"`:                               `freshness is "new"`,
		text + `,"filters":{"partitions":[]}`:                     "partitions is empty",
		text + `,"filters":{"timestamp_gte":2,"timestamp_lte":1}`: "ends before it begins",
		text + `,"filters":{"min_offset":2}`:                      `unknown field "min_offset"`,
		strings.Repeat(" ", 3) + text + `,"limit":1`:              `unknown field "limit"`,
	} {
		r := w.refused(400, "{"+members+"}")
		require.Equal(t, "INVALID_REQUEST", r.Code, members)
		require.Contains(t, r.Error, want, members)
	}
	require.Empty(t, w.Texts)
}

func TestWhatCanBeAskedIsListed(t *testing.T) {
	w := serve(t)
	var capabilities []map[string]any
	require.Equal(t, 200, w.do("GET", "/_query/capabilities", "", &capabilities))
	require.Equal(t, []map[string]any{{"topic": "ads", "text_search": true, "vector_search": true, "sql_query": false, "fetch": true}}, capabilities)
	var profiles []federated.Profile
	require.Equal(t, 200, w.do("GET", "/_query/profiles", "", &profiles))
	require.Equal(t, "default", profiles[0].Name)
	require.Equal(t, map[string]float64{"rrf_score": 1}, profiles[0].Weights)
}
