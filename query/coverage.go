package query

import (
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// coverageKey is the entry of a stream's schema that says what the answer
// covers, as JSON: it is known before the first row.
const coverageKey = "chronik.coverage"

func withCoverage(s *arrow.Schema, coverage map[string]topicCoverage) (*arrow.Schema, error) {
	text, err := json.Marshal(coverage)
	if err != nil {
		return nil, fmt.Errorf("write the coverage: %w", err)
	}
	metadata := arrow.NewMetadata([]string{coverageKey}, []string{string(text)})
	return arrow.NewSchema(s.Fields(), &metadata), nil
}
