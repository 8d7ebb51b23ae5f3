package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/chronik-stream/chronik/tests/history"
)

// counts asks again and again how many records there are. An answer holds all
// that were acknowledged before the question, and none that was not sent before
// the answer.
func (w *Workload) counts(t Topic) {
	for w.pause(time.Second) {
		if err := w.count(w.running, t); err != nil && w.running.Err() == nil {
			w.unanswered.Add(1)
		}
	}
}

func (w *Workload) count(ctx context.Context, t Topic) error {
	floor := w.ackedByTopic[t.Name].Load()
	n, err := w.sql(ctx, fmt.Sprintf(`SELECT count(*) AS n FROM "%s"`, t.Name))
	if err != nil {
		return err
	}
	w.asked.Add(1)
	switch most := w.sentByTopic[t.Name].Load(); {
	case n < floor:
		w.History.Report(history.Stale, "SQL counts %d records of %s, when %d had been acknowledged", n, t.Name, floor)
	case n > most:
		w.History.Report(history.Duplicated, "SQL counts %d records of %s, when %d had been sent", n, t.Name, most)
	}
	return nil
}

// finalCounts asks once more when all is over, and now there has to be an answer.
func (w *Workload) finalCounts(ctx context.Context) error {
	for _, t := range w.o.Topics {
		if !t.Table || w.o.HTTP == "" {
			continue
		}
		var err error
		for ctx.Err() == nil {
			if err = w.count(ctx, t); err == nil {
				break
			}
			if !w.pause(200 * time.Millisecond) {
				return errors.New("the workload has ended")
			}
		}
		if err != nil {
			return fmt.Errorf("count %s by SQL at the end: %w", t.Name, err)
		}
	}
	return nil
}

var httpClient = &http.Client{Timeout: 30 * time.Second}

func (w *Workload) sql(ctx context.Context, query string) (int64, error) {
	body, err := json.Marshal(map[string]any{"query": query, "timeout_secs": 20})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.o.HTTP+"/_sql", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := httpClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d: %.300s", response.StatusCode, text)
	}
	var answer struct {
		Rows []struct {
			N int64 `json:"n"`
		} `json:"rows"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("%.300s: %w", text, err)
	}
	if len(answer.Rows) != 1 {
		return 0, fmt.Errorf("%d rows: %.300s", len(answer.Rows), text)
	}
	return answer.Rows[0].N, nil
}
