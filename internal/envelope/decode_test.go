package envelope_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/envelope"
)

func TestWhatIsWrongWithABodyIsNamed(t *testing.T) {
	type filter struct {
		MinOffset int64 `json:"min_offset"`
	}
	type paging struct {
		After int `json:"after"`
		filter
	}
	type request struct {
		paging
		Query   string `json:"query"`
		K       *int   `json:"k"`
		Exact   bool   `json:"exact"`
		Weight  float32
		Filters struct {
			Partitions []int32 `json:"partitions"`
			filter
		} `json:"filters"`
	}
	for body, want := range map[string]string{
		``:                                   `the body is empty, JSON is expected`,
		`{"query":"a","filter":{}}`:          `unknown field "filter"`,
		`{"filters":{"partition":[1]}}`:      `unknown field "partition"`,
		`{"k":"ten"}`:                        `k has to be an integer in the range of int, not string`,
		`{"k":1.5}`:                          `k has to be an integer in the range of int, not number 1.5`,
		`{"after":"x"}`:                      `after has to be`,
		`{"min_offset":"x"}`:                 `min_offset has to be`,
		`{"filters":{"min_offset":"x"}}`:     `filters.min_offset has to be`,
		`{"query":7}`:                        `query has to be a text, not number`,
		`{"exact":"yes"}`:                    `exact has to be true or false, not string`,
		`{"Weight":1e40}`:                    `Weight has to be a number in the range of float32, not number 1e40`,
		`{"filters":[]}`:                     `filters has to be an object, not array`,
		`{"filters":{"partitions":1}}`:       `filters.partitions has to be an array, not number`,
		`{"filters":{"partitions":[-1e12]}}`: `filters.partitions has to be an integer in the range of int32, not number -1e12`,
		`{"query":"a"} {}`:                   `the body has more than one JSON value`,
		`{"query":"a"`:                       `unexpected EOF`,
		`[1]`:                                `the body is JSON, but it has to be an object, not array`,
	} {
		err := envelope.Decode([]byte(body), &request{})
		require.ErrorContains(t, err, want, body)
		require.NotContains(t, err.Error(), "filter.min", "structs that are embedded are no members")
		require.NotContains(t, err.Error(), "paging.")
		var f *envelope.Failure
		require.ErrorAs(t, err, &f)
		require.Equal(t, 400, f.Status)
		require.Equal(t, "INVALID_REQUEST", f.Code)
	}
	var r request
	require.NoError(t, envelope.Decode([]byte(` {"query":"a","k":null,"filters":{"partitions":[0,2]}} `), &r))
	require.Equal(t, "a", r.Query)
	require.Nil(t, r.K)
	require.Equal(t, []int32{0, 2}, r.Filters.Partitions)
}
